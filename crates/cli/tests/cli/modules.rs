//! `converge module`: a new module passes its own tests, and changed cases are reported.

use crate::world::{Said, World, repository};

fn check(world: &World, arguments: &[&str], exit: i32, said: &[&str]) {
    let Said { exit: ended, out, err } = world.run(arguments);
    assert_eq!(ended, exit, "{arguments:?}: {out}{err}");
    for words in said {
        assert!(out.contains(words) || err.contains(words), "{words:?} is not in: {out}{err}");
    }
}

#[test]
fn a_module_that_is_started_passes_its_own_tests_and_one_that_changed_does_not() {
    let world = World::new();
    check(&world, &["module", "test"], 1, &["module new NAME"]);
    check(&world, &["module", "new", "greeter"], 0, &["modules/greeter/templates/greeter.conf.j2"]);
    check(&world, &["module", "new", "greeter"], 1, &["already exists"]);
    check(
        &world,
        &["module", "test"],
        0,
        &[
            "passed greeter: usual",
            "passed greeter: README example 1",
            "2 cases: 2 passed, 0 written, 0 failed",
        ],
    );
    world.write("modules/greeter/cases/usual.kdl", "greeter { greeting \"Bye\" }\n");
    check(
        &world,
        &["module", "test", "greeter"],
        1,
        &["-        | greeting = Good day", "+        | greeting = Bye"],
    );
    check(&world, &["module", "test", "--update"], 0, &["written greeter: usual"]);
    check(
        &world,
        &["module", "test", "--json"],
        0,
        &["\"module\":\"greeter\",\"case\":\"usual\",\"outcome\":\"passed\",\"report\":null}"],
    );
    world.write("modules/greeter/README.md", "```kdl\ngreeter { greting \"x\" }\n```\n");
    check(&world, &["module", "test"], 1, &["modules/greeter/README.md:1:", "greeting"]);
    check(&world, &["module", "test", "greter"], 1, &["there is no module greter"]);
    check(&world, &["module", "new", "file"], 1, &["is a kind of resource"]);
    check(&world, &["module", "new", "../x"], 1, &["is not a valid module name"]);
}

#[test]
fn every_built_in_module_passes_its_cases_and_its_examples_load() {
    let Said { exit, out, err } = World::new().run_in(&repository(), &["module", "test"]);
    assert_eq!(exit, 0, "{out}{err}");
    let modules = std::fs::read_dir(repository().join("modules")).unwrap();
    for module in modules {
        let module = module.unwrap().file_name().into_string().unwrap();
        assert!(out.contains(&format!("passed {module}: README example 1")), "{module} shows no example");
    }
}
