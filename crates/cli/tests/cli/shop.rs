//! The preparation of the shop by a user: its archives and its secrets.

use std::fs;
use std::process::Command;

use crate::world::World;

const VERSIONS: [&str; 3] = ["1.4.2", "1.5.0", "1.5.1"];

fn build(world: &World) -> [Vec<u8>; 3] {
    let built = Command::new("python3").arg("build.py").current_dir(world.project()).output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    VERSIONS.map(|version| fs::read(world.project().join(format!("dist/shop-{version}.tar.gz"))).unwrap())
}

#[test]
fn the_archives_are_the_same_bytes_wherever_they_are_built() {
    let (here, there) = (World::example("shop"), World::example("shop"));
    let built = build(&here);
    assert!(built == build(&there) && built == build(&here));
    assert!(built[0] != built[1] && built[1] != built[2]);
}

#[test]
fn one_script_makes_the_secrets_that_the_inventory_asks_for() {
    let world = World::example("shop");
    let make = |arguments: &[&str]| {
        let script = world.command(&[]);
        let path = script.get_program().to_owned();
        let mut command = Command::new("./make-secrets");
        command.args(arguments).current_dir(world.project()).env_clear().env("CONVERGE", path);
        command.envs(script.get_envs().filter_map(|(name, value)| Some((name, value?))));
        world.said(command.output().unwrap())
    };
    assert_ne!(make(&[]).exit, 0);
    let made = make(&["10.77.0.13"]);
    assert_eq!(made.exit, 0, "{}", made.err);
    let get =
        |name: &str| world.run(&["secrets", "get", name, "secrets/production.age"]).out.trim_end().to_owned();
    let password = get("shop/db-password");
    assert_eq!(password.len(), 48, "{password}");
    assert_eq!(get("shop/database-url"), format!("postgresql://shop:{password}@10.77.0.13/shop"));
    assert!(!made.out.contains(&password) && !made.err.contains(&password));
    let again = make(&["10.77.0.13"]);
    assert!(again.exit != 0 && again.err.contains("is there already"), "{}", again.err);
    assert_eq!(get("shop/db-password"), password);
}
