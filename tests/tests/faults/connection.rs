//! Hosts that are gone, hosts that fail, hosts with another key, and unusual logins.

use converge_model::HostState;

use crate::support::{Course, SUDO, apply, converge, on_host, on_hosts, plan, project, root};

const MOTD: &str = r#"file "/etc/motd" { content "Welcome" }"#;

#[test]
fn a_host_that_is_gone_or_that_fails_stops_no_other() {
    on_hosts(&["h1", "h2", "h3"], |testbed| {
        let gone = testbed.host("h2").unwrap();
        gone.cut_power().unwrap();
        let started = project(testbed, SUDO, MOTD);
        let told = apply(&started);
        assert_eq!(told.code, 4, "{told}");
        for name in ["h1", "h3"] {
            assert_eq!(told.state(name), HostState::Changed, "{told}");
            assert_eq!(root(testbed.host(name).unwrap(), "cat /etc/motd"), "Welcome");
        }
        assert_eq!(told.state("h2"), HostState::Unreachable);
        let why = told.problems("h2");
        assert!(why.contains("failed to connect: ") && why.contains("port 22: "), "{why}");

        let failing = "command \"test {{ host.name }} != h1\" id=\"fail\" always=#true\nfile \"/etc/after\"";
        let told = apply(&project(testbed, SUDO, failing));
        assert_eq!(told.code, 3, "a failure counts for more than a host that is gone: {told}");
        let states = ["h1", "h2", "h3"].map(|name| told.state(name));
        assert_eq!(states, [HostState::Failed, HostState::Unreachable, HostState::Changed], "{told}");
        assert_eq!(root(testbed.host("h1").unwrap(), "ls /etc/after 2>/dev/null || true"), "");
    });
}

#[test]
fn a_host_with_another_key_is_refused() {
    on_host(|testbed, host| {
        let project = project(testbed, SUDO, MOTD);
        let key = "/etc/ssh/ssh_host_ed25519_key";
        let fingerprint = || root(host, &format!("ssh-keygen -lf {key}.pub | cut -d' ' -f2"));
        let known = fingerprint();
        root(host, &format!("rm {key}*; ssh-keygen -q -t ed25519 -N '' -f {key}; systemctl restart ssh"));
        let before = host.digest().unwrap();
        let told = apply(&project);
        assert_eq!((told.code, told.state("h1")), (4, HostState::Unreachable), "{told}");
        let why = told.problems("h1");
        assert!(why.contains(&known) && why.contains(&fingerprint()), "both fingerprints: {why}");
        assert!(why.contains("ssh-keygen -R"), "{why}");
        assert_eq!(host.digest().unwrap(), before);
    });
}

#[test]
fn a_key_that_is_refused_is_not_tried_again() {
    on_host(|testbed, _host| {
        let project = project(testbed, SUDO, MOTD);
        let keygen = std::process::Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-f"])
            .arg(project.path("other"))
            .status();
        assert!(keygen.unwrap().success());
        let config = std::fs::read_to_string(testbed.ssh_config_path()).unwrap();
        let tried = project.path("tried");
        // Every connection writes a line here, because the host's own log may come late.
        let proxy = format!(
            r#"bash -c 'echo >>"{}"; exec 3<>/dev/tcp/%h/%p; cat <&3 & exec cat >&3'"#,
            tried.display()
        );
        let lines = config.lines().map(|line| match line.trim_start().strip_prefix("IdentityFile ") {
            Some(_) => {
                format!("    IdentityFile {}\n    ProxyCommand {proxy}\n", project.path("other").display())
            }
            None => format!("{line}\n"),
        });
        project.write("ssh_config", lines.collect::<String>()).unwrap();
        let mut command = project.command();
        command.env("CONVERGE_SSH_CONFIG", project.path("ssh_config"));
        let told = Course::start(command.args(["apply", "--yes", "--json"])).end();
        assert_eq!((told.code, told.state("h1")), (4, HostState::Unreachable), "{told}");
        let why = told.problems("h1");
        assert!(why.contains("the login was refused: ") && why.contains("other"), "{why}");
        assert_eq!(std::fs::read_to_string(tried).unwrap().lines().count(), 1);
    });
}

#[test]
fn a_login_that_talks_in_another_language_or_has_no_home_does_no_harm() {
    on_host(|testbed, host| {
        let noise = r#"printf 'Ho\305\237 geldiniz\0\n%s\n' "$(printf '%05000d' 7)"; echo '!' >&2
export LANG=tr_TR.UTF-8 LC_ALL=tr_TR.UTF-8 IFS=x; umask 000"#;
        let quoted = noise.replace('\'', r"'\''");
        root(host, &format!("cd /home/admin; printf '%s\n' '{quoted}' | cat - .bashrc >new; mv new .bashrc"));
        let heard = host.ssh("true").unwrap().ok().unwrap();
        assert!(heard.starts_with("Ho"), "the login talks: {heard}");
        let seen = project(
            testbed,
            r#"connection user="admin" become="none""#,
            r#"
            command "env >/tmp/seen" shell=#true creates="/tmp/seen"
            file "/tmp/made" { content "made" }
        "#,
        );
        converge(&seen);
        let seen = root(host, "cat /tmp/seen; stat -c %a /tmp/made");
        assert!(seen.contains("LC_ALL=C.UTF-8") && !seen.contains("tr_TR"), "{seen}");
        assert!(seen.ends_with("644"), "{seen}");
        converge(&project(testbed, SUDO, MOTD));

        root(host, "mkdir /etc/ssh/keys; cp /home/admin/.ssh/authorized_keys /etc/ssh/keys/admin
            chmod 644 /etc/ssh/keys/admin; echo 'AuthorizedKeysFile /etc/ssh/keys/%u' >/etc/ssh/sshd_config.d/keys.conf
            rm -r /home/admin; systemctl restart ssh");
        let told = converge(&project(testbed, SUDO, r#"file "/etc/issue" { content "homeless" }"#));
        assert_eq!(told.state("h1"), HostState::Changed);
    });
}

#[test]
fn one_session_at_a_time_is_enough() {
    on_host(|testbed, host| {
        root(host, "echo 'MaxSessions 1' >/etc/ssh/sshd_config.d/sessions.conf; systemctl restart ssh");
        let project = project(testbed, SUDO, MOTD);
        let told = converge(&project);
        assert_eq!(told.state("h1"), HostState::Changed);
        assert_eq!(plan(&project).code, 0);
    });
}
