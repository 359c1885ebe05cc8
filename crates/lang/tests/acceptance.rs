//! Two complete projects, as a user would write them.

mod common;

use common::{loader, run};
use converge_lang::{Builtin, MemorySources};

#[test]
fn the_quickstart_becomes_a_catalog() {
    let sources = MemorySources::new().file("inventory.kdl", include_str!("data/quickstart/inventory.kdl"));
    insta::assert_snapshot!(run(&loader(sources, &[]), "inventory.kdl", &[]));
}

/// The built-in modules for these tests: only the parts that the shop uses.
const BUILTINS: &[Builtin] = &[
    Builtin { name: "users", files: &[("module.kdl", include_bytes!("data/builtins/users.kdl"))] },
    Builtin { name: "packages", files: &[("module.kdl", include_bytes!("data/builtins/packages.kdl"))] },
    Builtin {
        name: "firewall",
        files: &[
            ("module.kdl", include_bytes!("data/builtins/firewall.kdl")),
            ("templates/rules.j2", include_bytes!("data/builtins/firewall.j2")),
        ],
    },
    Builtin { name: "fail2ban", files: &[("module.kdl", include_bytes!("data/builtins/fail2ban.kdl"))] },
    Builtin {
        name: "nginx",
        files: &[
            ("module.kdl", include_bytes!("data/builtins/nginx.kdl")),
            ("templates/site.j2", include_bytes!("data/builtins/nginx.j2")),
        ],
    },
    Builtin {
        name: "app-release",
        files: &[
            ("module.kdl", include_bytes!("data/builtins/app-release.kdl")),
            ("templates/env.j2", include_bytes!("data/builtins/env.j2")),
        ],
    },
];

fn shop() -> MemorySources {
    MemorySources::new()
        .file("converge.kdl", include_str!("../../../examples/shop/converge.kdl"))
        .file("inventories/people.kdl", include_str!("../../../examples/shop/inventories/people.kdl"))
        .file("inventories/production.kdl", include_str!("../../../examples/shop/inventories/production.kdl"))
        .file("modules/motd/module.kdl", include_str!("../../../examples/shop/modules/motd/module.kdl"))
        .file(
            "modules/motd/templates/motd.j2",
            include_str!("../../../examples/shop/modules/motd/templates/motd.j2"),
        )
        .secret_file(
            "secrets/production.age",
            "shop { db-password \"hunter2-db\"; database-url \"postgres://shop:hunter2-db@10.77.0.3/shop\" }",
        )
}

#[test]
fn the_shop_becomes_three_catalogs() {
    insta::assert_snapshot!(run(&loader(shop(), BUILTINS), "", &[]));
}

#[test]
fn the_shop_is_reached_as_it_says() {
    let inventory = loader(shop(), BUILTINS).load("", &[]).inventory.unwrap();
    insta::assert_snapshot!(serde_json::to_string_pretty(&inventory.describe()).unwrap());
}
