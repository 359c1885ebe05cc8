//! The names in a selection must exist. This is checked before a host is reached, if it can be known then.

#![expect(clippy::unwrap_used, reason = "a test may panic, and so may its helpers")]

mod common;

use common::{loader, one};
use converge_lang::Selection;
use converge_model::HostName;

const INVENTORY: &str = r#"
    host "web1" "web2"
    on "*" {
        file "/etc/second" tags="web"
        file "/etc/third" when="false" tags="dropped"
    }
    on "*" { file "/etc/fourth" when="false" { content "words"; tags "inside" "also" } }
    on "web2" { file "/etc/only-here" tags="other" }
"#;

/// Returns the messages and the help about a selection.
fn missing(inventory: &str, hosts: &[&str], selection: &Selection) -> Vec<(String, String)> {
    let inventory = loader(one(inventory), &[]).load("inventory.kdl", &[]).inventory.unwrap();
    let hosts: Vec<HostName> = hosts.iter().map(|host| HostName::new(*host).unwrap()).collect();
    let found = inventory.choose(selection, &hosts).err().unwrap_or_default();
    found.iter().map(|report| (report.message.clone(), report.help.clone().unwrap_or_default())).collect()
}

fn only(address: &str) -> Selection {
    Selection { only: vec![address.to_owned()], ..Selection::default() }
}

fn tags(tag: &str) -> Selection {
    Selection { tags: vec![tag.to_owned()], ..Selection::default() }
}

#[test]
fn selection_of_nothing_is_an_error_with_the_nearest() {
    let check = |selection: &Selection, message: &str, help: &str| {
        assert_eq!(missing(INVENTORY, &["web1", "web2"], selection), [(message.to_owned(), help.to_owned())]);
    };
    check(
        &only("flie[/etc/second]"),
        "no resource has the address `flie[/etc/second]`",
        "did you mean `file[/etc/second]`?",
    );
    check(&tags("wbe"), "no resource has the tag `wbe`", "did you mean `web`?");
    check(
        &tags("nothing-like-it"),
        "no resource has the tag `nothing-like-it`",
        "the tags are also, dropped, inside, other, web",
    );
    let skip = Selection { skip_tags: vec!["wbe".to_owned()], ..Selection::default() };
    check(&skip, "no resource has the tag `wbe`", "did you mean `web`?");
    let skip = Selection { skip: vec!["flie[/etc/second]".to_owned()], ..Selection::default() };
    check(&skip, "no resource has the address `flie[/etc/second]`", "did you mean `file[/etc/second]`?");
    let several =
        Selection { only: vec!["file[/etc/second]".to_owned(), "nginx".to_owned()], ..Selection::default() };
    assert_eq!(missing(INVENTORY, &["web1"], &several).len(), 1, "each of several must exist");
    let apart = Selection { tags: vec!["other".to_owned()], ..only("file[/etc/second]") };
    assert_eq!(missing(INVENTORY, &["web1", "web2"], &apart)[0].0, "no resource is chosen");
}

#[test]
fn selection_is_of_the_hosts_of_the_run() {
    assert_eq!(missing(INVENTORY, &["web2"], &tags("other")), []);
    assert_eq!(missing(INVENTORY, &["web1"], &tags("other")).len(), 1);
}

#[test]
fn selection_of_what_a_condition_left_out_exists() {
    assert_eq!(missing(INVENTORY, &["web1"], &only("file[/etc/third]")), []);
    assert_eq!(missing(INVENTORY, &["web1"], &tags("dropped")), []);
    assert_eq!(missing(INVENTORY, &["web1"], &tags("also")), []);
    assert_eq!(missing(INVENTORY, &["web1"], &tags("words")).len(), 1, "content is no tag");
    assert_eq!(missing(INVENTORY, &["web1"], &Selection::default()), []);
    assert_eq!(missing("host \"a\"", &["a"], &Selection::default()), [], "all of nothing");
}

#[test]
fn selection_is_left_to_the_run_where_names_depend_on_facts() {
    let inventory = "host \"a\"\non \"a\" { file \"/etc/{{ facts.os.codename }}\" }";
    assert_eq!(missing(inventory, &["a"], &only("file[/etc/bookworm]")), []);
    let compiled = |selection: &Selection| {
        let inventory = loader(one(inventory), &[]).load("inventory.kdl", &[]).inventory.unwrap();
        let facts = common::facts(&inventory);
        let host = HostName::new("a").unwrap();
        inventory.compile(&host, &facts, selection).0.unwrap().choices.missing(selection)
    };
    assert!(compiled(&only("file[/etc/bookworm]")).is_empty());
    assert_eq!(compiled(&only("file[/etc/bookwrm]")).len(), 1);
}
