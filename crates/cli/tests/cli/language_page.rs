//! The examples of `docs/language.md` are complete inventories, and each of them is accepted.

use crate::world::{World, repository};

#[test]
fn every_inventory_on_the_page_is_accepted() {
    let page = std::fs::read_to_string(repository().join("docs/language.md")).unwrap();
    let examples: Vec<&str> =
        page.split("```kdl\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(examples.len() >= 6, "the page lost its examples");
    for example in examples {
        let world = World::new();
        world.write("inventory.kdl", example);
        let said = world.run(&["check", "inventory.kdl"]);
        assert_eq!(said.exit, 0, "{example}\n{}{}", said.out, said.err);
    }
}
