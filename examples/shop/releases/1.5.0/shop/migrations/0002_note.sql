-- With a default, so that 1.4.2, which knows nothing of it, goes on taking orders while hosts are upgraded.
alter table orders add column note text not null default '';
