//! `converge fmt`.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

use crate::world::{World, repository};

const WILD: &str = "host  \"a\"{ // one\n\n\n  vars{x  1}\n}\n";
const TAME: &str = "host \"a\" { // one\n    vars { x 1 }\n}\n";

fn world() -> World {
    let world = World::new();
    for path in ["inventory.kdl", "modules/m/module.kdl", ".hidden/x.kdl"] {
        world.write(path, WILD);
    }
    world.write("notes.txt", WILD);
    world
}

fn at(world: &World, path: &str) -> PathBuf {
    world.project().join(path)
}

#[test]
fn a_folder_is_laid_out_once() {
    let world = world();
    let said = world.run(&["fmt", "--check"]);
    assert_eq!((said.exit, said.out.as_str()), (1, "inventory.kdl\nmodules/m/module.kdl\n"), "{}", said.err);
    assert!(said.err.contains("2 files would change") && world.read("inventory.kdl") == WILD, "{}", said.err);
    let said = world.run(&["fmt"]);
    assert_eq!((said.exit, said.out.as_str()), (0, "inventory.kdl\nmodules/m/module.kdl\n"), "{}", said.err);
    assert_eq!((world.read("inventory.kdl"), world.read("modules/m/module.kdl")), (TAME.into(), TAME.into()));
    assert_eq!((world.read(".hidden/x.kdl"), world.read("notes.txt")), (WILD.into(), WILD.into()));
    for arguments in [&["fmt"] as &[&str], &["fmt", "--check"]] {
        let said = world.run(arguments);
        assert_eq!((said.exit, said.out.as_str(), said.err.as_str()), (0, "", ""));
    }
}

#[test]
fn a_file_keeps_its_mode_and_its_link() {
    let world = world();
    let file = at(&world, "inventory.kdl");
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o640)).unwrap();
    symlink(&file, at(&world, "link.kdl")).unwrap();
    assert_eq!(world.run(&["fmt", "link.kdl"]).exit, 0);
    assert_eq!(world.read("inventory.kdl"), TAME);
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
    assert!(at(&world, "link.kdl").is_symlink());
}

#[test]
fn a_file_that_is_not_kdl_stays_and_the_others_are_laid_out() {
    let world = world();
    world.write("a.kdl", "host \"a\" {\n");
    world.write("b.kdl", &"x".repeat(2 << 20));
    let said = world.run(&["fmt"]);
    assert_eq!((said.exit, world.read("inventory.kdl")), (1, TAME.to_owned()));
    assert!(said.err.contains("never closed") && said.err.contains("at most 1048576 bytes"), "{}", said.err);
    assert_eq!(world.read("a.kdl"), "host \"a\" {\n");
    let said = world.run(&["fmt", "nowhere"]);
    assert!(said.exit == 1 && said.err.contains("failed to read nowhere"), "{}", said.err);
}

#[test]
fn every_kdl_file_of_the_repository_has_the_layout() {
    let root = repository();
    for folder in ["examples", "inventories", "modules", "tests"] {
        let said = World::new().run(&["fmt", "--check", root.join(folder).to_str().unwrap()]);
        assert_eq!((said.exit, said.out.as_str()), (0, ""), "{folder}: {}", said.err);
    }
}
