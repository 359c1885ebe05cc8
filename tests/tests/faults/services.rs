//! Notified services: how often they start, and what happens with one that fails with its new configuration.

use converge_model::{HostState, Restoration, StepOutcome};

use crate::support::{SUDO, apply, converge, on_host, plan, project, root};

/// A service that runs with an interval of 5 or more. With any other it dies one second after reading it.
const TICKER: &str = r#"
cat >/usr/local/bin/ticker <<'END'
#!/bin/sh
read _ _ interval </etc/ticker.conf
[ "$interval" -ge 5 ] && exec sleep infinity
sleep 1
echo "cannot bear an interval of $interval" >&2
exit 1
END
chmod 755 /usr/local/bin/ticker
printf '[Service]\nExecStart=/usr/local/bin/ticker\nExecReload=/bin/true\n' >/etc/systemd/system/ticker.service
echo 'interval = 9' >/etc/ticker.conf
systemctl daemon-reload; systemctl start ticker"#;

fn configuration(interval: u32, notify: &str) -> String {
    format!(
        "file \"/etc/ticker.conf\" notify=\"{notify}\" {{ content \"interval = {interval}\" }}\n\
         file \"/etc/ticker.more\" notify=\"{notify}\" {{ content \"{interval}\" }}\n\
         service \"ticker\" running=#true"
    )
}

#[test]
fn a_changed_file_restarts_its_service_once_and_a_reload_does_not_end_it() {
    on_host(|testbed, host| {
        root(host, TICKER);
        // systemd writes these lines itself, so each one always has its unit.
        let started = || {
            root(
                host,
                "systemctl show -P InvocationID ticker; journalctl --sync; journalctl -q -u ticker -g '^Started' | wc -l",
            )
        };
        let (first, once) = started().split_once('\n').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
        assert_eq!(once, "1");
        let restarting = project(testbed, SUDO, &configuration(5, "service[ticker]"));
        let told = converge(&restarting);
        assert_eq!(told.outcomes("h1", "service[ticker]"), [&StepOutcome::Done], "{told}");
        let after = started();
        assert!(!after.contains(&first) && after.ends_with("\n2"), "two changes, one restart: {after}");
        assert_eq!(apply(&restarting).code, 0);
        assert_eq!(started(), after, "nothing changed, nothing restarts");

        let told = converge(&project(testbed, SUDO, &configuration(6, "service[ticker]:reload")));
        assert_eq!(told.outcomes("h1", "service[ticker]"), [&StepOutcome::Done], "{told}");
        assert_eq!(started(), after, "a reload starts nothing");
        assert_eq!(root(host, "journalctl --sync; journalctl -q -u ticker -g '^Reloaded' | wc -l"), "1");
    });
}

#[test]
fn a_change_that_kills_its_service_is_restored() {
    on_host(|testbed, host| {
        root(host, TICKER);
        converge(&project(testbed, SUDO, &configuration(5, "service[ticker]")));
        let broken = project(testbed, SUDO, &configuration(1, "service[ticker]"));
        let told = apply(&broken);
        assert_eq!((told.code, told.state("h1")), (3, HostState::Failed), "{told}");
        let outcomes = told.outcomes("h1", "service[ticker]");
        let [StepOutcome::Failed { why, output, restored: Restoration::Done, .. }] = outcomes[..] else {
            panic!("{told}")
        };
        assert!(why.contains("file[/etc/ticker.conf], file[/etc/ticker.more] was restored"), "{why}");
        assert!(output.contains("cannot bear an interval of 1"), "its journal: {output}");
        for file in ["file[/etc/ticker.conf]", "file[/etc/ticker.more]"] {
            assert!(
                matches!(
                    told.outcomes("h1", file)[..],
                    [StepOutcome::Failed { restored: Restoration::Done, .. }]
                ),
                "{told}"
            );
        }
        assert_eq!(
            root(host, "cat /etc/ticker.conf /etc/ticker.more; systemctl is-active ticker"),
            "interval = 5\n5\nactive"
        );
        assert_eq!(plan(&broken).code, 2, "it is still to be done");
    });
}

#[test]
fn a_restart_is_owed_until_all_that_asks_for_it_is_there() {
    on_host(|testbed, host| {
        root(host, TICKER);
        let invocation = || root(host, "systemctl show -P InvocationID ticker");
        let first = invocation();
        let project = project(
            testbed,
            SUDO,
            r#"
            file "/etc/ticker.conf" notify="service[ticker]" { content "interval = 5" }
            file "/etc/ticker.more" notify="service[ticker]" validate="ls /run/open %s" { content "more" }
            service "ticker" running=#true
        "#,
        );
        for _ in 0..2 {
            let told = apply(&project);
            assert_eq!(told.code, 3, "{told}");
            assert!(told.outcomes("h1", "service[ticker]").contains(&&StepOutcome::Owed), "{told}");
            assert_eq!(invocation(), first, "it waits for the other file");
            assert!(plan(&project).plan("h1").steps.iter().any(|step| step.owed), "a plan shows the debt");
        }
        root(host, "touch /run/open");
        converge(&project);
        assert_ne!(invocation(), first);
    });
}
