//! The policies of the module `firewall` in the syntax of nft(8): for each case `CASE.kdl` with a policy, `CASE.nft`
//! has the rules. The module writes a typed policy, and the back end renders it.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use converge_lang::{FactsOf, Loader, MemorySources, NoFacts, Selection};
use converge_model::{KindInfo, Params};
use converge_resources::kinds::firewall_policy::{FirewallPolicy, Wish};
use converge_resources::system::firewall::Firewall as _;
use converge_resources::system::firewall::nftables::Nftables;
use converge_resources::{Kind as _, Reader};

use crate::world::repository;

/// Returns the parameters of a body's policy. None if it has none, or does not load.
fn policy_of(body: &str) -> Option<Params> {
    let module = repository().join("modules/firewall");
    let mut sources = MemorySources::new().file("site.kdl", format!("host \"h\"\non \"h\" {{\n{body}\n}}\n"));
    for file in ["module.kdl", "templates/used.j2", "templates/ways-in.j2"] {
        sources = sources.file(&format!("modules/firewall/{file}"), fs::read(module.join(file)).unwrap());
    }
    let kinds = converge_resources::registry().map(|kind| kind as &dyn KindInfo).collect();
    let loaded = Loader::new(Arc::new(sources), kinds, Vec::new()).load("site.kdl", &[]);
    let inventory = loaded.inventory?;
    let host = inventory.hosts().next()?.clone();
    let facts: Arc<dyn FactsOf> = Arc::new(NoFacts);
    let (compiled, _) = inventory.compile(&host, &facts, &Selection::default());
    let resources = compiled?.catalog.resources;
    resources.into_iter().find(|one| one.kind == "firewall-policy").map(|one| one.params)
}

/// Returns the rules of a policy in the syntax of nft.
fn rules(params: &Params) -> Option<String> {
    let mut reader = Reader::new(params, None);
    let Wish::Policy(policy) = FirewallPolicy::decode(&mut reader) else { return None };
    reader.finish().unwrap();
    let script = Nftables.render(&policy);
    let (_, rules) = script.rsplit_once("table inet converge {\n").unwrap();
    Some(rules.trim_end().trim_end_matches('}').trim_end().to_owned() + "\n")
}

#[test]
fn each_case_is_the_same_rules_of_nft() {
    let mut seen = 0;
    for entry in fs::read_dir(repository().join("modules/firewall/cases")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|end| end != "kdl") {
            continue;
        }
        let expected = fs::read_to_string(path.with_extension("nft")).ok();
        let found = policy_of(&fs::read_to_string(&path).unwrap()).as_ref().and_then(rules);
        seen += usize::from(expected.is_some());
        assert_eq!(found, expected, "{}", name(&path));
    }
    assert!(seen >= 4, "{seen} cases have a policy");
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
