//! Habits from other tools: each mistake gives one message with a solution.

#![expect(clippy::unwrap_used, reason = "a test may panic, and so may its helpers")]

mod common;

use common::mistakes;

/// Returns the message and the help of the only mistake in an inventory.
fn one(inventory: &str) -> (String, String) {
    let found = mistakes(inventory);
    let messages: Vec<_> = found.iter().map(|mistake| mistake.message.clone()).collect();
    assert_eq!(messages.len(), 1, "{inventory}: {messages:?}");
    let mistake = found.iter().next().unwrap();
    (mistake.message.clone(), mistake.help.clone().unwrap_or_default())
}

fn is_helped(inventory: &str, message: &str, help: &str) {
    let (found, helped) = one(inventory);
    assert!(found.contains(message), "{inventory}: {found}");
    assert!(helped.contains(help), "{inventory}: {helped}");
}

fn body_is_helped(body: &str, message: &str, help: &str) {
    is_helped(&format!("host \"a\"\non \"a\" {{ {body} }}"), message, help);
}

#[test]
fn slips_of_syntax_are_one_message_each() {
    is_helped(
        "host \"a\"\non \"a\": { package \"x\" }",
        "a colon does not belong here",
        "remove it: `\"a\"`",
    );
    is_helped("host \"\\d\" \"with a longer name beside it\"\nhost \"b\"", "no escape `\\d`", "`\\\\`");
    // The parser guesses here, so its words are not shown.
    let together = one("host \"a\"\non \"a\" { package \"x\"y }");
    assert_eq!(together, ("\"x\"y is not KDL".to_owned(), String::new()));
    is_helped("host \"a\"\n# my servers\n", "`#` is not KDL", "a comment begins with `//`");
    is_helped("host \"a\"\n#my servers\n", "`#my` is not KDL", "a comment begins with `//`");
    is_helped(
        "host \"a\"\non \"a\" { file \"/x\" { content \"one\ntwo\" } }",
        "must end on the same line",
        "for several lines, write `\"\"\"`",
    );
    is_helped("host \"a\"\non \"a\" { file \"/x\" { content \"a\\x27b\" } }", "no escape `\\x`", "`\\u{1b}`");
    is_helped("host \"a\"\non \"a\" { command \"/bin/sh \\d\" always=#true }", "no escape `\\d`", "#\"…\"#");
}

#[test]
fn settings_of_a_connection_are_sent_there() {
    is_helped("host \"a\" port=2222", "`host` has no property `port`", "`host \"a\" { connection port=22 }`");
    is_helped("host \"a\" { user \"root\" }", "`host` has no property `user`", "connection user=\"admin\"");
    is_helped("group \"g\" become=\"sudo\" { host \"a\" }", "`group` has no property `become`", "connection");
    is_helped("host \"a\" colour=1", "`host` has no property `colour`", "there is only `address`");
    for proxy in ["jump", "proxy", "bastion"] {
        is_helped(
            &format!("host \"a\" {proxy}=\"b\""),
            &format!("no property `{proxy}`"),
            "jump=\"bastion\"",
        );
    }
    is_helped("host \"db1:2222\"", "a host name holds", "`host \"db1\" { connection port=2222 }`");
    is_helped("host \"ada@db1\"", "a host name holds", "`host \"db1\" { connection user=\"ada\" }`");
}

#[test]
fn words_of_other_tools_are_answered() {
    body_is_helped("service \"x\" state=\"started\"", "no parameter `state`", "running=#true");
    body_is_helped("package \"x\" state=\"installed\"", "`installed` is not allowed", "write `present`");
    body_is_helped(
        "package \"x\" state=\"latest\"",
        "`latest` is not allowed",
        "write `present`, or leave it out",
    );
    body_is_helped("link \"/a\" \"/b\"", "one argument too many", "write `link");
    for gone in ["removed", "uninstalled", "deleted", "purged", "false"] {
        body_is_helped(&format!("package \"x\" state=\"{gone}\""), "is not allowed", "write `absent`");
    }
    for given in ["to=\"/c\"", "{ to \"/c\" }"] {
        body_is_helped(
            &format!("link \"/a\" \"/b\" {given}"),
            "one argument too many",
            "write one `link` for each",
        );
    }
    body_is_helped(
        "file \"/x\" { content \"{{ 'a' | zzzzzz }}\" }",
        "no filter `zzzzzz`",
        "there are abs, attr",
    );
    body_is_helped("file \"/x\" { content \"{{ zzzzzz() }}\" }", "no function `zzzzzz`", "there are ");
    body_is_helped(
        "file \"/x\" { content \"{{ 1 is zzzzzz }}\" }",
        "no test `zzzzzz`",
        "there are boolean, defined",
    );
    body_is_helped(
        "file \"/x\" { content \"{{ host.zzzzzz() }}\" }",
        "no method `zzzzzz`",
        "values have no methods",
    );
    body_is_helped("service \"a\" \"b\"", "one argument too many", "write one `service` for each");
    body_is_helped(
        "sysctl \"vm.swappiness\" \"10\"",
        "one argument too many",
        "`sysctl \"vm.swappiness\" value=\"10\"`",
    );
    body_is_helped("include \"x.kdl\"", "no kind or module `include`", "at the top");
    body_is_helped("reboot", "no kind or module `reboot`", "reboot");
    body_is_helped("when \"true\" { }; else { package \"x\" }", "no kind or module `else`", "second `when`");
}

#[test]
fn signs_of_a_shell_in_a_command_are_a_warning() {
    body_is_helped(
        "command \"cat /etc/passwd | grep root > /tmp/x\" creates=\"/tmp/x\"",
        "`cat` gets `|`, `>` as words",
        "shell=#true",
    );
    body_is_helped(
        "command always=#true { command \"echo $HOME\" }",
        "`echo` gets `$HOME` as a word",
        "quote",
    );
    for fine in [
        "command \"cat /etc/passwd | grep root > /tmp/x\" creates=\"/tmp/x\" shell=#true",
        "command \"sh -c 'a | b'\" creates=\"/tmp/x\"",
        "command \"find\" \"/\" \"*\" \"|\" creates=\"/tmp/x\"",
        "command \"a {{ 'x > y' }}\" creates=\"/tmp/x\" unless=\"a | b\"",
    ] {
        assert!(mistakes(&format!("host \"a\"\non \"a\" {{ {fine} }}")).is_empty(), "{fine}");
    }
}

#[test]
fn secret_in_a_literal_list_is_as_good_as_in_a_variable() {
    let found = |list: &str| {
        let inventory = format!(
            "secrets \"s.age\"\nhost \"a\"\nvars {{ pw (secret)\"x\"; both \"a\" (secret)\"x\" }}\non \"a\" {{ for \"p\" in=\"{list}\" {{ command \"x\" always=#true id=\"{{{{ loop.index }}}}\" {{ stdin \"{{{{ p }}}}\" }} }} }}"
        );
        let sources = converge_lang::MemorySources::new()
            .file("inventory.kdl", inventory.as_str())
            .secret_file("s.age", "x \"s3cret-value\"");
        common::run(&common::loader(sources, &[]), "inventory.kdl", &[])
    };
    let of_variable = found("both");
    assert!(of_variable.contains("command[1]") && of_variable.contains("SECRET"), "{of_variable}");
    assert_eq!(found("['a', pw]"), of_variable);
}
