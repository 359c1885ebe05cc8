//! A second back end of each sort, for tests only. Kinds must keep their promises on it as on the first one. Each is
//! one file and one row, and no other code names it.

mod gate;
mod larder;
mod rota;

use std::path::Path;
use std::sync::Arc;

use crate::system::backend::Backend;
use crate::system::files::Files;
use crate::system::firewall::{self, Firewall};
use crate::system::real::{RealSystem, Tables};
use crate::system::receipts::Receipts;
use crate::system::{packages, services};

static PACKAGES: [Backend<packages::Open>; 2] = [larder::BACKEND, packages::apt::BACKEND];
static SERVICES: [Backend<services::Open>; 2] = [rota::BACKEND, services::systemd::BACKEND];
static FIREWALLS: [Backend<&'static dyn Firewall>; 2] = [gate::BACKEND, firewall::nftables::BACKEND];

/// Makes the system below `root`, with the second back ends beside Converge's own. Its files decide which of them it
/// has.
pub(crate) fn system(root: &Path, receipts: Receipts) -> std::io::Result<RealSystem> {
    let tables = Tables { packages: &PACKAGES, services: &SERVICES, firewalls: &FIREWALLS, ..Tables::OWN };
    Ok(RealSystem::assemble(Arc::new(Files::new(root)?), receipts, tables))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Peer;
    use crate::kind::Planned;
    use crate::kinds::testing::{Trial, change, finished, impossible, params};
    use crate::system::System;
    use crate::system::processes::Command;
    use converge_model::{Cell, Params, Row, Value, Verb};
    use std::sync::Mutex;

    /// A host with the second back ends and what they offer.
    fn host() -> Trial {
        let mut trial = Trial::new();
        trial.write("/usr/bin/larder", "");
        trial.write("/usr/share/larder", "NetworkManager 1.4\nLib 2\n");
        trial.write("/run/rota/web", "");
        trial.write("/sbin/gate", "");
        trial.take(|root, receipts| system(root, receipts).unwrap());
        trial
    }

    fn package(name: &str) -> Params {
        params([("name", name.into())])
    }

    #[test]
    fn a_host_has_the_back_ends_whose_marks_it_has() {
        let trial = Trial::new();
        let of = |trial: &Trial| {
            let receipts = Receipts::in_folder(trial.at("/receipts"));
            let system = system(trial.at("/").as_path(), receipts).unwrap();
            (system.packages().manager().name, system.firewall().name())
        };
        assert_eq!(of(&trial), ("this host", "nftables"));
        trial.write("/usr/bin/apt-get", "");
        assert_eq!(of(&trial), ("apt", "nftables"));
        assert_eq!(of(&host()), ("larder", "gate"));
    }

    #[test]
    fn a_package_obeys_the_laws() {
        let trial = host();
        let created = trial.laws("package", &package("NetworkManager"));
        assert_eq!(created.verb, Verb::Create);
        let mut absent = package("NetworkManager");
        absent.set("state", "absent".into());
        assert_eq!(trial.laws("package", &absent).verb, Verb::Remove);
    }

    #[test]
    fn what_the_second_manager_cannot_do_is_said_by_the_plan() {
        let trial = host();
        let check = |param: &str, value: Value, expected: &str| {
            let mut asked = package("Lib");
            asked.set(param, value);
            assert_eq!(impossible(trial.plan("package", &asked)), expected);
        };
        check("hold", true.into(), "larder cannot hold a package");
        check("version", "2.*".into(), "larder cannot match versions by a pattern");
        let lower = impossible(trial.plan("package", &package("lib")));
        assert_eq!(lower, "larder does not accept the package name \"lib\"");
        let unneeded = impossible(trial.plan("autoremove", &params([("name", "packages".into())])));
        assert_eq!(unneeded, "larder cannot list unneeded packages");
    }

    #[test]
    fn a_service_obeys_the_laws() {
        let trial = host();
        let mut web = package("web");
        web.set("running", true.into());
        web.set("enabled", true.into());
        web.set("settle", 0.into());
        trial.laws("service", &web);
        web.set("running", false.into());
        trial.laws("service", &web);
    }

    #[test]
    fn a_policy_obeys_the_laws() {
        let trial = host();
        let table = Mutex::new(None);
        trial.answer(move |command: &Command| {
            let input =
                command.input.as_ref().map(|text| String::from_utf8_lossy(text.expose()).into_owned());
            let mut table = table.lock().unwrap();
            match command.words[1].as_str() {
                "show" => table.as_ref().map_or_else(|| finished(1, ""), |table: &String| finished(0, table)),
                "load" => {
                    *table = input.filter(|text| !text.is_empty());
                    finished(0, "")
                }
                _ => finished(0, ""),
            }
        });
        let ssh = Row(vec![
            ("action".into(), Cell::Scalar("accept".into())),
            ("tcp".into(), Cell::List(vec!["22".into()])),
        ]);
        let policy = params([("name", "converge".into()), ("rule", Value::Rows(vec![ssh]))]);
        assert_eq!(trial.laws("firewall-policy", &policy).verb, Verb::Create);
        assert_eq!(trial.read("/etc/gate/converge"), b"open tcp 22\nelse Drop\n");
        let own = params([("name", "converge".into()), ("rules", "chain input { }".into())]);
        let mut raw = policy.clone();
        let rule = Row(vec![("rule".into(), Cell::Scalar("tcp dport 9 accept".into()))]);
        raw.set("raw", Value::Rows(vec![rule]));
        for foreign in [own, raw] {
            let failure = trial.failure("firewall-policy", &foreign);
            assert_eq!(failure, "`rules` and `raw` need nftables, but this host has gate");
        }
        let absent = params([("name", "converge".into()), ("state", "absent".into())]);
        let gone = change(trial.plan("firewall-policy", &absent));
        assert_eq!(gone.verb, Verb::Remove);
        trial.laws("firewall-policy", &absent);
        assert!(matches!(trial.plan("firewall-policy", &absent), Planned::InSync(_)));
        let peer = Peer { from: [10, 0, 0, 9].into(), to: [10, 0, 0, 1].into(), port: 80, interface: None };
        let visit = crate::access::Visit { login: &Default::default(), peer: &|| Some(peer.clone()) };
        let warning = trial.wanted("firewall-policy", &policy).warns(&gone, visit);
        assert!(
            warning.unwrap().starts_with("no rule lets in this run from 10.0.0.9"),
            "one answer for all back ends"
        );
    }
}
