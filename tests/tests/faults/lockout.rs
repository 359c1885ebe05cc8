//! Changes that lock out their own user: the host reverts them by itself and reports it. Changes that were confirmed
//! over a new connection stay, and no temporary files are left.

use converge_model::HostState;
use converge_tests::project::Project;
use converge_tests::testbed::{Host, Testbed};
use rustix::process::Signal;

use crate::support::{
    Course, EventKind, Gate, SUDO, Told, agent, apply, converge, on_host, plan, project, root, until_settled,
};

/// Returns sshd with an additional line in its configuration.
fn sshd(line: &str) -> String {
    format!(
        r#"
        file "/etc/ssh/sshd_config.d/99-test.conf" notify="service[ssh]" {{
            content "{line}\n"
        }}
        service "ssh" running=#true
    "#
    )
}

/// Returns a policy of nftables in the distribution's file, loaded by its service.
fn nftables(rule: &str) -> String {
    let chain = format!("chain input {{ type filter hook input priority 0; policy accept; {rule}; }}");
    let text = format!("#!/usr/sbin/nft -f\\nflush ruleset\\ntable inet filter {{\\n{chain}\\n}}\\n");
    format!(
        r#"
        file "/etc/nftables.conf" mode="0755" notify="service[nftables]" {{
            content "{text}"
        }}
        service "nftables" running=#true enabled=#true
    "#
    )
}

/// Starts `converge apply` with a short time for the confirmation.
fn quick(project: &Project) -> Course {
    Course::start(project.command().args(["apply", "--yes", "--json", "--confirm-timeout", "15s"]))
}

fn events(told: &Told) -> Vec<&'static str> {
    let word = |kind: &EventKind| match kind {
        EventKind::Armed {} => Some("armed"),
        EventKind::Confirmed {} => Some("confirmed"),
        EventKind::Reverted {} => Some("reverted"),
        _ => None,
    };
    told.events.iter().filter_map(|event| word(&event.kind)).collect()
}

/// Returns everything that arming leaves on a host, during and after it.
fn traces(host: &Host) -> String {
    root(
        host,
        "ls -d /var/lib/converge/arm* /var/lib/converge/confirmed /var/lib/converge/rever* \
         /etc/systemd/system/converge-* /etc/systemd/system/*/converge-* 2>/dev/null; \
         systemctl list-units --plain --no-legend 'converge-*'; true",
    )
}

/// Whether a new login works that uses nothing from an earlier one.
fn gets_in(host: &Host) -> bool {
    host.ssh("sudo -k -n true").is_ok_and(|ran| ran.ok().is_ok())
}

fn is_reverted(told: &Told, host: &Host) {
    assert_eq!((told.code, told.state("h1")), (3, HostState::Reverted), "{told}");
    assert_eq!(events(told), ["armed", "reverted"], "{told}");
    assert!(gets_in(host));
    let why = told.problems("h1");
    assert!(why.contains("reverted") && why.contains("plan again"), "{why}");
}

/// Checks that the next run reports the revert, and the one after it does not.
fn is_told_once(testbed: &Testbed) {
    let harmless = project(testbed, SUDO, r#"file "/etc/motd" { content "Welcome" }"#);
    let told = plan(&harmless);
    assert!(told.plan("h1").reverted.is_some() && told.plan("h1").problems.is_empty(), "{told}");
    converge(&harmless);
    assert_eq!(plan(&harmless).plan("h1").reverted, None);
}

#[test]
fn a_configuration_of_sshd_that_shuts_us_out_is_reverted() {
    on_host(|testbed, host| {
        root(
            host,
            "echo 'PrintMotd no' >/etc/ssh/sshd_config.d/99-test.conf; chmod 640 /etc/ssh/sshd_config.d/99-test.conf",
        );
        let file = || {
            root(
                host,
                "cat /etc/ssh/sshd_config.d/99-test.conf; stat -c '%a %U' /etc/ssh/sshd_config.d/99-test.conf",
            )
        };
        let before = file();
        let project_of = |line: &str| project(testbed, SUDO, &sshd(line));
        for line in ["AllowUsers somebody-else", "Port 2222"] {
            let shutting = project_of(line);
            let seen = plan(&shutting);
            let step = &seen.plan("h1").steps[0];
            assert!(step.guarded && step.warning.as_ref().is_some_and(|why| why.contains(line)), "{step:?}");
            let told = quick(&shutting).end();
            is_reverted(&told, host);
            assert_eq!(file(), before);
            assert_eq!(
                root(host, "ss -Hltn 'sport = :22' | grep -c . >/dev/null && echo listens"),
                "listens"
            );
        }
        is_told_once(testbed);
        assert_eq!(traces(host), "");
    });
}

#[test]
fn a_good_configuration_of_sshd_is_confirmed_and_leaves_nothing_behind() {
    on_host(|testbed, host| {
        let told = converge(&project(testbed, SUDO, &sshd("PrintMotd no")));
        assert_eq!(
            (told.state("h1"), events(&told)),
            (HostState::Changed, vec!["armed", "confirmed"]),
            "{told}"
        );
        assert_eq!(traces(host), "");
        assert_eq!(root(host, "sshd -T | grep printmotd"), "printmotd no");
        let told = apply(&project(testbed, SUDO, &sshd("NoSuchOption yes")));
        assert_eq!((told.code, told.state("h1")), (3, HostState::Failed), "{told}");
        assert_eq!(
            root(host, "cat /etc/ssh/sshd_config.d/99-test.conf"),
            "PrintMotd no",
            "what is not valid never lives"
        );
        assert_eq!(traces(host), "");
        assert!(gets_in(host));
    });
}

#[test]
fn a_policy_that_forgets_ssh_is_reverted() {
    on_host(|testbed, host| {
        let before =
            || root(host, "cat /etc/nftables.conf; nft list ruleset; systemctl is-enabled nftables || true");
        let untouched = before();
        let told = quick(&project(testbed, SUDO, &nftables("tcp dport 22 drop"))).end();
        assert_eq!((told.code, told.state("h1")), (3, HostState::Reverted), "{told}");
        assert!(gets_in(host));
        assert_eq!(before(), untouched);

        let told = quick(&project(testbed, SUDO, &nftables("tcp dport 22 ct state new drop"))).end();
        is_reverted(&told, host);
        assert_eq!(before(), untouched);

        let told = converge(&project(testbed, SUDO, &nftables("tcp dport 23 drop")));
        assert_eq!(events(&told), ["armed", "confirmed"], "{told}");
        assert!(root(host, "nft list ruleset").contains("tcp dport 23 drop"));
        assert_eq!(traces(host), "");
    });
}

#[test]
fn a_host_whose_controller_died_takes_it_back_within_its_window() {
    on_host(|testbed, host| {
        let before = || root(host, "cat /etc/nftables.conf; nft list ruleset");
        let untouched = before();
        let shutting = project(testbed, SUDO, &nftables("tcp dport 22 drop"));
        let mut course = quick(&shutting);
        let of_service = |kind: &EventKind| matches!(kind, EventKind::StepFinished(result) if result.address.as_str() == "service[nftables]");
        course.until(host, of_service);
        let died = course.run();
        course.signal(Signal::KILL);
        course.reap();
        assert!(root(host, "nft list ruleset").contains("tcp dport 22 drop"));
        until_settled(host);
        assert_eq!(before(), untouched);
        assert!(gets_in(host));
        // The agent has released the host in the regular way when the lock is free.
        root(host, "timeout 30 flock /var/lib/converge/lock true");
        let told = plan(&shutting);
        let plan = told.plan("h1");
        assert_eq!((plan.reverted.as_deref(), &plan.interrupted), (Some(died.as_str()), &None), "{told}");
        assert!(!plan.steps.is_empty() && plan.steps.iter().all(|step| !step.owed), "{told}");
        is_told_once(testbed);
    });
}

#[test]
fn a_whole_policy_that_forgets_ssh_is_reverted_with_or_without_its_controller() {
    on_host(|testbed, host| {
        let table = || root(host, "nft list tables; ls /etc/nftables.d /etc/converge 2>/dev/null || true");
        let policy = |allowed: &str| {
            let body = format!("firewall {{\n without-ssh #true\n allow {allowed}\n}}");
            project(testbed, SUDO, &body)
        };
        let untouched = table();
        let forgetful = policy("\"http\"");
        is_reverted(&quick(&forgetful).end(), host);
        assert_eq!(table(), untouched);

        let told = converge(&policy("\"ssh\" \"https\""));
        assert_eq!(events(&told), ["armed", "confirmed"], "{told}");
        let good = root(host, "nft -s list table inet converge");
        let mut course = quick(&forgetful);
        course.until(host, |kind| matches!(kind, EventKind::HostPhase { phase } if phase == "confirming"));
        course.signal(Signal::KILL);
        course.reap();
        until_settled(host);
        assert_eq!(
            root(host, "nft -s list table inet converge"),
            good,
            "the policy of before is in force again"
        );
        assert!(gets_in(host));
    });
}

#[test]
fn a_host_whose_agent_died_reverts_it_and_no_run_acts_before() {
    on_host(|testbed, host| {
        let shutting = project(testbed, SUDO, &sshd("AllowUsers somebody-else"));
        let mut course = quick(&shutting);
        course.until(host, |kind| matches!(kind, EventKind::Armed { .. }));
        root(host, &format!("kill -9 {}", agent(host).unwrap()));
        let told = course.end();
        assert_eq!((told.code, told.state("h1")), (3, HostState::Reverted), "{told}");
        root(host, "test ! -e /etc/ssh/sshd_config.d/99-test.conf");
        assert!(gets_in(host));
        let told = plan(&shutting);
        assert!(told.plan("h1").interrupted.is_some() && told.plan("h1").reverted.is_some(), "{told}");
        is_told_once(testbed);
    });
}

#[test]
fn a_boot_takes_it_back_before_the_network_is_up() {
    on_host(|testbed, host| {
        let shutting = project(testbed, SUDO, &nftables("tcp dport 22 drop"));
        let mut course =
            Course::start(shutting.command().args(["apply", "--yes", "--json", "--confirm-timeout", "1h"]));
        let of_service = |kind: &EventKind| matches!(kind, EventKind::StepFinished(result) if result.address.as_str() == "service[nftables]");
        course.until(host, of_service);
        course.signal(Signal::KILL);
        course.reap();
        host.cut_power().unwrap();
        host.power_on().unwrap();
        assert!(gets_in(host));
        assert_eq!(host.failed_units().unwrap(), Vec::<String>::new());
        assert!(!root(host, "cat /etc/nftables.conf").contains("22"));
        assert_eq!(root(host, "nft list ruleset; systemctl is-enabled nftables || true"), "disabled");
        let told = plan(&shutting);
        assert!(told.plan("h1").reverted.is_some(), "{told}");
        is_told_once(testbed);
        assert_eq!(traces(host), "");
    });
}

#[test]
fn the_rule_that_makes_the_login_root_comes_back() {
    on_host(|testbed, host| {
        let rules = || root(host, "cat /etc/sudoers /etc/sudoers.d/*; stat -c '%a %U %n' /etc/sudoers.d/*");
        let before = rules();
        for body in [
            r#"sudo-rule "admin" state="absent""#,
            r#"file "/etc/sudoers.d/admin" mode="0440" { content "admin ALL=(nobody) ALL\n" }"#,
        ] {
            is_reverted(&quick(&project(testbed, SUDO, body)).end(), host);
            assert_eq!(rules(), before);
        }
        let broken = r#"file "/etc/sudoers.d/broken" mode="0440" { content "this is no rule\n" }"#;
        let told = apply(&project(testbed, SUDO, broken));
        assert_eq!((told.code, told.state("h1")), (3, HostState::Failed), "{told}");
        assert_eq!((rules(), traces(host)), (before, String::new()), "what is not valid never lives");
        root(host, "sed -i '/^%sudo/d' /etc/sudoers");
        let refused = plan(&project(testbed, SUDO, r#"sudo-rule "admin" state="absent""#));
        let blocked = &refused.plan("h1").blocked[0];
        assert!(blocked.why.contains("would lock out admin") && blocked.help.is_some(), "{refused}");
    });
}

/// Each of these prevents the login in its own way.
const SHUT: &str = r#"
    file "/etc/hosts.deny" { content "ALL: ALL\n" }
    file "/etc/nsswitch.conf" { content "passwd: nothing\n" }
    file "/home/admin/.bashrc" { content "exit 7\n" }
    directory "/home" mode="0700"
    user "sshd" state="absent"
"#;

#[test]
fn whatever_shuts_us_out_is_reverted_or_refused_and_what_can_be_known_is_said_before() {
    on_host(|testbed, host| {
        let state = || {
            root(
                host,
                "cat /etc/hosts.deny /etc/nsswitch.conf /etc/passwd /home/admin/.bashrc; stat -c %a /home",
            )
        };
        let before = state();
        let shutting = project(testbed, SUDO, SHUT);
        let seen = plan(&shutting);
        let steps = &seen.plan("h1").steps;
        assert!(steps.len() == 5 && steps.iter().all(|step| step.guarded), "{seen}");
        is_reverted(&quick(&shutting).end(), host);
        assert_eq!(state(), before);

        let refused = plan(&project(testbed, SUDO, r#"package "libwrap0" state="absent""#));
        assert_eq!(refused.state("h1"), HostState::Unplannable, "{refused}");
        assert!(refused.plan("h1").blocked[0].why.contains("openssh-server is removed"), "{refused}");

        let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl ada";
        for (body, warning) in [
            ("service \"ssh\" enabled=#false", "after the next boot"),
            (&*format!("authorized-key \"admin\" exclusive=#true {{ key \"{key}\" }}"), "as admin"),
            ("firewall { allow \"ssh\" from=\"192.0.2.9\" }", "at port 22"),
            (
                "file \"/etc/sudoers.d/admin\" { content \"admin ALL=(nobody) ALL\\n\" }",
                "`admin ALL=(ALL:ALL)",
            ),
        ] {
            let seen = plan(&project(testbed, SUDO, body));
            let mut warnings = seen.plan("h1").steps.iter().filter_map(|step| step.warning.as_deref());
            assert!(warnings.any(|said| said.contains(warning)), "{body}: {seen}");
        }
        let open = plan(&project(testbed, SUDO, "firewall { allow \"ssh\" }"));
        assert!(open.plan("h1").steps.iter().all(|step| step.warning.is_none()), "{open}");
    });
}

#[test]
fn a_script_that_was_killed_midway_is_finished_by_systemd_or_by_the_next_who_comes() {
    on_host(|testbed, host| {
        // A command that makes sshd read its files again waits at the gate.
        let gate = Gate::on(host);
        root(
            host,
            "mkdir -p /etc/systemd/system/ssh.service.d; cd /etc/systemd/system/ssh.service.d
             printf '[Service]\\nExecReload=/usr/local/bin/gate\\n' >gate.conf; systemctl daemon-reload; touch /run/open",
        );
        let body = r#"
            file "/etc/ssh/sshd_config.d/99-test.conf" notify="service[ssh]:reload" {
                content "AllowUsers somebody-else\n"
            }
            service "ssh" running=#true
        "#;
        let shutting = project(testbed, SUDO, body);
        let mut course = quick(&shutting);
        course.until(host, |kind| matches!(kind, EventKind::HostPhase { phase } if phase == "confirming"));
        gate.close();
        let unit = format!("converge-revert-{}-1.service", course.run());
        course.signal(Signal::KILL);
        course.reap();
        root(host, &format!("kill -9 {}", agent(host).unwrap()));
        let until = |condition: &str| {
            root(host, &format!("timeout 90 sh -c 'until {condition}; do sleep 0.1; done'"));
        };
        until("test -e /var/lib/converge/reverting");
        until("test \"$(systemctl show -P ActiveState ssh)\" = reloading");
        root(host, &format!("systemctl kill --kill-who=main --signal=KILL {unit}"));
        until(&format!("test \"$(systemctl show -P NRestarts {unit})\" = 1"));
        // The unit is stopped and not only killed, so nothing starts it again before a controller connects.
        root(host, &format!("systemctl stop {unit}; test -e /var/lib/converge/reverting"));
        // The second job that asked for the restart is gone, but its request is not: sshd would close its port once
        // more.
        root(host, "systemctl cancel");
        gate.open();
        until(
            "test \"$(systemctl show -P ActiveState ssh)\" = active && ss -Hltn \"sport = :22\" | grep -q .",
        );
        is_told_once(testbed);
        root(host, "test ! -e /etc/ssh/sshd_config.d/99-test.conf");
        assert!(gets_in(host));
        root(host, "rm -r /etc/systemd/system/ssh.service.d");
        assert_eq!(traces(host), "");
    });
}

#[test]
fn a_revert_that_fails_is_loud_and_is_not_tried_again() {
    on_host(|testbed, host| {
        root(host, "echo 'PrintMotd no' >/etc/ssh/sshd_config.d/99-test.conf");
        let shutting = project(testbed, SUDO, &sshd("AllowUsers somebody-else"));
        let mut course = quick(&shutting);
        course.until(host, |kind| matches!(kind, EventKind::HostPhase { phase } if phase == "confirming"));
        // Another program replaces the file.
        root(host, "cd /etc/ssh/sshd_config.d; rm 99-test.conf; mkdir 99-test.conf; touch 99-test.conf/x");
        let told = course.end();
        assert_eq!((told.code, told.state("h1")), (3, HostState::Failed), "{told}");
        let why = told.problems("h1");
        assert!(why.contains("99-test.conf") && why.contains("/var/lib/converge/revert-failed"), "{why}");
        let told = plan(&project(testbed, SUDO, r#"file "/etc/motd" { content "Welcome" }"#));
        assert_eq!(told.state("h1"), HostState::Unplannable, "{told}");
        assert!(told.problems("h1").contains("/var/lib/converge/revert-failed"), "{told}");
        root(host, "rm -r /etc/ssh/sshd_config.d/99-test.conf /var/lib/converge/revert-failed");
        converge(&project(testbed, SUDO, r#"file "/etc/motd" { content "Welcome" }"#));
    });
}
