//! The complete example: `examples/shop` on three real hosts from nothing, an upgrade under load, and a release that
//! fails.
#![expect(clippy::unwrap_used, reason = "a test may panic, and so may its helpers")]

use std::io::{Read, Write};
use std::path::Path;

use converge_tests::converge_binary;
use converge_tests::load::{Load, Site};
use converge_tests::project::{Ended, Project};
use converge_tests::testbed::{Testbed, or_skip};

const DOMAIN: &str = "shop.example.com";

/// The shop and its hosts.
struct Shop<'a> {
    testbed: &'a Testbed,
    project: Project,
    office: String,
    sites: Vec<Site>,
}

#[test]
fn the_shop_is_built_upgraded_and_kept_from_a_bad_release() {
    let Some(testbed) = or_skip(Testbed::up(&["web1", "web2", "db1"])) else { return };
    let shop = Shop::new(&testbed);
    shop.is_built_from_nothing();
    shop.is_left_alone_by_a_second_run();
    shop.is_upgraded_without_a_failed_request();
    shop.is_kept_from_a_bad_release();
}

impl<'a> Shop<'a> {
    fn new(testbed: &'a Testbed) -> Self {
        let project = Project::new("", Some(testbed)).unwrap();
        std::fs::remove_file(project.path("project/inventory.kdl")).unwrap();
        project.copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/shop")).unwrap();
        let address = |name: &str| testbed.host(name).unwrap().address().to_owned();
        let office = format!("{}.0/24", address("db1").rsplit_once('.').unwrap().0);
        let sites = ["web1", "web2"].map(|name| Site::new(&address(name), DOMAIN)).to_vec();
        let shop = Self { testbed, project, office, sites };
        shop.makes("./build.py", &[]);
        shop.makes("./make-secrets", &[&address("db1")]);
        shop
    }

    /// Runs a script of the project.
    fn makes(&self, script: &str, arguments: &[&str]) {
        let mut command = self.project.program(self.project.path("project").join(script));
        let ended: Ended =
            command.env("CONVERGE", converge_binary()).args(arguments).output().unwrap().into();
        assert_eq!(ended.code, 0, "{script}: {ended}");
    }

    fn converge(&self, arguments: &[&str], code: i32) -> Ended {
        let office = format!("office={}", self.office);
        let ended = self.project.converge(&[arguments, &["--set", &office]].concat()).unwrap();
        assert_eq!(ended.code, code, "{arguments:?}: {ended}");
        ended
    }

    fn page(&self, site: usize) -> String {
        let answer = self.sites[site].get("/").unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.text
    }

    /// Returns the answer of the database.
    fn asks(&self, query: &str) -> String {
        let db = self.testbed.host("db1").unwrap();
        let line = format!("su postgres -c \"psql -tA shop -c '{query}'\"");
        db.exec_root(&line).unwrap().ok().unwrap().trim().to_owned()
    }

    fn is_built_from_nothing(&self) {
        self.converge(&["check"], 0);
        self.converge(&["apply", "--yes"], 0);
        assert!(self.page(0).contains("Shop 1.4.2"));
        assert_eq!(self.sites[0].post("/orders", "item=tea&quantity=7").unwrap().status, 303);
        assert!(self.page(1).contains("7 × tea"), "both hosts sell out of one database");
        assert_eq!(self.sites[1].get("/health").unwrap().status, 200);
    }

    fn is_left_alone_by_a_second_run(&self) {
        self.converge(&["plan", "--detailed-exitcode"], 0);
        let mut kept = self.sites[0].connect().unwrap();
        self.converge(&["apply", "--yes"], 0);
        write!(kept, "GET /health HTTP/1.0\r\nHost: {DOMAIN}\r\n\r\n").unwrap();
        let mut answer = String::new();
        kept.read_to_string(&mut answer).unwrap();
        assert!(answer.contains("200 OK"), "a connection from before the run: {answer}");
    }

    fn is_upgraded_without_a_failed_request(&self) {
        let load = Load::start(&self.sites, "/", 2);
        let ended = self.converge(&["apply", "--yes", "--set", "release=1.5.0", "--json"], 0);
        let tally = load.stop();
        assert!(tally.failures.is_empty() && tally.answered > 50, "{tally:?}");
        assert!((0..2).all(|site| self.page(site).contains("Shop 1.5.0")));
        assert_eq!(self.asks("select count(*) from migrations"), "2");
        let ran = |line: &&str| {
            line.contains("\"step-finished\"")
                && line.contains("app-release[shop].command[migrate]")
                && line.contains("\"outcome\":\"done\"")
        };
        assert_eq!(ended.stdout.lines().filter(ran).count(), 1, "one host migrated: {}", ended.stdout);
        self.converge(&["plan", "--detailed-exitcode", "--set", "release=1.5.0"], 0);
    }

    fn is_kept_from_a_bad_release(&self) {
        let load = Load::start(&self.sites, "/", 2);
        let ended = self.converge(&["apply", "--yes", "--set", "release=1.5.1"], 3);
        let tally = load.stop();
        assert!(tally.failures.is_empty() && tally.answered > 50, "{tally:?}");
        for said in ["503", "this release fails its health check on purpose", "not started", "gunicorn"] {
            assert!(ended.stdout.contains(said), "{said} is not in: {ended}");
        }
        assert!((0..2).all(|site| self.page(site).contains("Shop 1.5.0")));
        self.converge(&["plan", "--detailed-exitcode", "--set", "release=1.5.0"], 0);
    }
}
