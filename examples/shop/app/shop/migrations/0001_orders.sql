create table orders (
    id bigint generated always as identity primary key,
    item text not null,
    quantity integer not null check (quantity > 0),
    ordered timestamptz not null default now()
);
