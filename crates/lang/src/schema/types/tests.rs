//! Tests of each type: accepted values, and the messages for all others.

use converge_model::{Param, Scalar, Type};

use super::*;

fn text(text: &str) -> Input {
    Input::Text(text.to_owned())
}

fn int(number: i128, written: &str) -> Input {
    Input::Int(number, Some(written.to_owned()))
}

fn float(number: f64, written: &str) -> Input {
    Input::Float(number, Some(written.to_owned()))
}

fn reads(ty: Type, input: Input, expected: Scalar) {
    assert_eq!(read(&ty, &input, Limits::default()), Ok(expected), "{ty:?} {input:?}");
}

fn refuses(ty: Type, input: Input, message: &str, help: &str) {
    let error = read(&ty, &input, Limits::default()).expect_err(message);
    assert_eq!(
        (error.message.as_str(), error.help.as_deref().unwrap_or_default()),
        (message, help),
        "{ty:?}"
    );
}

#[test]
fn numbers_are_read_strictly() {
    reads(Type::Int, int(4, "4"), Scalar::Int(4));
    reads(Type::Int, text("4"), Scalar::Int(4));
    reads(Type::Int, text("-4"), Scalar::Int(-4));
    reads(Type::Int, Input::Float(2.0, None), Scalar::Int(2));
    reads(Type::Int, int(255, "0xff"), Scalar::Int(255));
    reads(Type::Float, text("0.5"), Scalar::Float(0.5));
    reads(Type::Float, int(2, "2"), Scalar::Float(2.0));
    reads(Type::Float, float(1.5, "1.50"), Scalar::Float(1.5));
    let remainder = "`//` divides without a remainder; the nearest whole number is `3`";
    refuses(Type::Int, Input::Float(2.5, None), "2.5 is not a whole number", remainder);
    refuses(Type::Int, text("2.5"), "`2.5` is not a whole number", "`//` divides without a remainder");
    refuses(Type::Int, text("four"), "`four` is not a whole number", "write digits alone: `4`");
    refuses(Type::Int, text(" 4"), "` 4` is not a whole number", "write digits alone: `4`");
    refuses(Type::Int, text("007"), "`007` is not a whole number", "write digits alone: `4`");
    refuses(Type::Int, int(7, "007"), "007 reads as 7", "quote it: `\"007\"`");
    refuses(Type::Int, Input::Bool(true), "`#true` is not a whole number", "write `4`");
    let bits = "the maximum is 9223372036854775807 (64 bits)";
    refuses(Type::Int, Input::Int(1 << 80, None), "1208925819614629174706176 is too large", bits);
    refuses(Type::Int, text("9223372036854775808"), "9223372036854775808 is too large", bits);
    refuses(Type::Float, text("nan"), "`nan` is not a number", "write `0.5`");
    refuses(Type::Float, Input::Float(f64::INFINITY, None), "inf is not a number", "write `0.5`");
}

#[test]
fn a_number_that_would_print_otherwise_is_to_be_quoted() {
    reads(Type::Text, text("1.10"), Scalar::from("1.10"));
    reads(Type::Text, int(4, "4"), Scalar::from("4"));
    reads(Type::Text, float(1.5, "1.5"), Scalar::from("1.5"));
    reads(Type::Text, Input::Bool(true), Scalar::from("true"));
    refuses(Type::Text, float(1.1, "1.10"), "1.10 reads as 1.1", "quote it: `\"1.10\"`");
    refuses(Type::Any, float(2.0, "2.0"), "2.0 reads as 2", "quote it: `\"2.0\"`");
    refuses(Type::Any, int(7, "007"), "007 reads as 7", "quote it: `\"007\"`");
}

#[test]
fn only_true_and_false_are_booleans() {
    reads(Type::Bool, Input::Bool(false), Scalar::Bool(false));
    reads(Type::Bool, text("true"), Scalar::Bool(true));
    reads(Type::Bool, text("false"), Scalar::Bool(false));
    refuses(Type::Bool, text("yes"), "`yes` is neither true nor false", "write `#true`");
    refuses(Type::Bool, text("Off"), "`Off` is neither true nor false", "write `#false`");
    refuses(Type::Bool, text("True"), "`True` is neither true nor false", "write `#true`");
    refuses(Type::Bool, int(0, "0"), "0 is neither true nor false", "write `#false`");
    refuses(Type::Bool, text("maybe"), "`maybe` is neither true nor false", "write `#true` or `#false`");
}

#[test]
fn a_mode_is_text_or_octal() {
    reads(Type::Mode, text("0644"), Scalar::Int(0o644));
    reads(Type::Mode, text("755"), Scalar::Int(0o755));
    reads(Type::Mode, text("2775"), Scalar::Int(0o2775));
    reads(Type::Mode, int(0o644, "0o644"), Scalar::Int(0o644));
    let help = "write `\"0644\"` or `0o644`";
    refuses(Type::Mode, int(644, "0644"), "0644 is the number 644, not a mode", help);
    refuses(Type::Mode, int(644, "644"), "644 is the number 644, not a mode", help);
    refuses(Type::Mode, int(0, "0"), "0 is not a mode", help);
    refuses(Type::Mode, int(0o10000, "0o10000"), "0o10000 is not a mode", "a mode is at most `0o7777`");
    refuses(Type::Mode, text("u=rw"), "`u=rw` is not a mode", "write it in digits: `\"0644\"`");
    refuses(Type::Mode, text("0888"), "`0888` is not a mode", "write four octal digits: `\"0644\"`");
    refuses(Type::Mode, text(""), "`` is not a mode", "write four octal digits: `\"0644\"`");
}

#[test]
fn durations_sizes_and_shares_have_units() {
    reads(Type::Duration, text("90s"), Scalar::Int(90_000));
    reads(Type::Duration, text("1h30m"), Scalar::Int(5_400_000));
    reads(Type::Duration, text("250ms"), Scalar::Int(250));
    reads(Type::Duration, text("2w"), Scalar::Int(1_209_600_000));
    let help = "write `\"5s\"`, with a unit (ms, s, m, h, d, w)";
    refuses(Type::Duration, int(5, "5"), "5 is not a duration", help);
    refuses(Type::Duration, text("5"), "`5` is not a duration", help);
    let help = "write `\"90s\"`, with a unit (ms, s, m, h, d, w)";
    refuses(Type::Duration, text("30m1h"), "`30m1h` is not a duration", help);
    refuses(Type::Duration, text("1.5h"), "`1.5h` is not a duration", help);
    refuses(Type::Duration, text(""), "`` is not a duration", help);
    refuses(Type::Duration, text("-5s"), "`-5s` is not a duration", help);
    refuses(Type::Duration, text("99999999999999999w"), "`99999999999999999w` is too large", "");
    reads(Type::Size, text("16m"), Scalar::Int(16 << 20));
    reads(Type::Size, text("3k"), Scalar::Int(3 << 10));
    reads(Type::Size, text("2GiB"), Scalar::Int(2 << 30));
    reads(Type::Size, text("1tb"), Scalar::Int(1 << 40));
    reads(Type::Size, text("512b"), Scalar::Int(512));
    let help = "write `\"16m\"`, with a unit (b, k, m, g, t: powers of 1024)";
    refuses(Type::Size, int(16, "16"), "16 is not a size", help);
    refuses(Type::Size, text("8388608t"), "`8388608t` is too large", "");
    reads(Type::Share, text("50%"), Scalar::from("50%"));
    reads(Type::Share, int(2, "2"), Scalar::from("2"));
    let help = "write `\"50%\"`, or a number of hosts";
    refuses(Type::Share, text("150%"), "`150%` is not a share", help);
    refuses(Type::Share, text("-1"), "`-1` is not a share", help);
}

#[test]
fn paths_are_absolute_and_plain() {
    reads(Type::Path, text("/etc//nginx/./x/"), Scalar::from("/etc/nginx/x"));
    reads(Type::Path, text("/"), Scalar::from("/"));
    reads(Type::ControllerPath, text("./dist//shop.tar.gz"), Scalar::from("dist/shop.tar.gz"));
    refuses(Type::Path, text("etc/x"), "`etc/x` is not an absolute path", "write `/etc/x`");
    refuses(Type::Path, text("~/x"), "`~/x` is not an absolute path", "write the full path: `/root/x`");
    refuses(Type::Path, text("/a/../b"), "`/a/../b` holds `..`", "write the path without `..`");
    refuses(Type::Path, text("/a\nb"), "`/a\\nb` holds a control character", "");
    refuses(Type::ControllerPath, text("../x"), "`../x` holds `..`", "write the path without `..`");
    refuses(Type::ControllerPath, text(""), "a path must not be empty", "");
}

#[test]
fn names_hosts_networks_ports_and_urls() {
    reads(Type::Name, text("nginx"), Scalar::from("nginx"));
    refuses(Type::Name, text("a b"), "`a b` is not a name: it holds a blank or control character ( )", "");
    refuses(Type::Name, text("a/b"), "`a/b` is not a name: it holds a `/`", "");
    let help = "a comma does not separate values: write `\"a\" \"b\"`";
    refuses(Type::Name, text("a,b"), "`a,b` is not a name: it holds a comma", help);
    reads(Type::Hostname, text("*.example.org"), Scalar::from("*.example.org"));
    reads(Type::Hostname, text("example.org."), Scalar::from("example.org."));
    refuses(Type::Hostname, text("a:80"), "`a:80` is not a host name", "a host name has no port");
    let help = "a host name has no scheme and no path";
    refuses(Type::Hostname, text("http://a"), "`http://a` is not a host name", help);
    for wrong in ["a..b", "a b", "-a", "a-.b"] {
        let help = "expected letters, digits and dashes, separated by dots";
        refuses(Type::Hostname, text(wrong), &format!("`{wrong}` is not a host name"), help);
    }
    reads(Type::Network, text("10.0.0.1"), Scalar::from("10.0.0.1"));
    reads(Type::Network, text("10.0.0.0/8"), Scalar::from("10.0.0.0/8"));
    reads(Type::Network, text("0.0.0.0/0"), Scalar::from("0.0.0.0/0"));
    reads(Type::Network, text("2001:DB8::/32"), Scalar::from("2001:db8::/32"));
    reads(Type::Network, text("::/0"), Scalar::from("::/0"));
    refuses(
        Type::Network,
        text("10.0.0.1/8"),
        "`10.0.0.1/8` is not a network",
        "the network is `10.0.0.0/8`",
    );
    let help = "the number after the `/` must be from 0 to 32";
    refuses(Type::Network, text("10.0.0.0/33"), "`10.0.0.0/33` is not a network", help);
    reads(Type::Port, text("8080"), Scalar::Int(8080));
    let help = "a port is a number from 1 to 65535";
    refuses(Type::Port, int(0, "0"), "0 is not a port", help);
    refuses(Type::Port, int(65536, "65536"), "65536 is not a port", help);
    reads(Type::Url, text("https://example.org/x?y"), Scalar::from("https://example.org/x?y"));
    reads(Type::Url, text("git+ssh://example.org/x"), Scalar::from("git+ssh://example.org/x"));
    let help = "a URL has a scheme: `https://example.org`";
    refuses(Type::Url, text("example.org"), "`example.org` is not a URL", help);
    refuses(Type::Url, text("file:/etc"), "`file:/etc` is not a URL", "write `file:///etc`");
    let help = "a URL has a scheme: `https://http:/etc`";
    refuses(Type::Url, text("http:/etc"), "`http:/etc` is not a URL", help);
    refuses(Type::Url, text("http://a b"), "`http://a b` is not a URL", "a URL holds no blanks: write `%20`");
}

#[test]
fn a_list_reads_one_item() {
    reads(Type::List(Box::new(Type::Port)), text("80"), Scalar::Int(80));
}

#[test]
fn limits_hold_after_reading() {
    let one_of = ["present", "absent"].map(String::from);
    let check = |ty: Type, input: Input, limits: Limits<'_>, message: &str, help: &str| {
        let error = read(&ty, &input, limits).expect_err(message);
        assert_eq!((error.message.as_str(), error.help.as_deref().unwrap_or_default()), (message, help));
    };
    let limits = Limits { one_of: &one_of, ..Limits::default() };
    let help = "did you mean `absent`? expected one of `present`, `absent`";
    check(Type::Text, text("abesnt"), limits, "`abesnt` is not allowed here", help);
    check(Type::Text, text("x"), limits, "`x` is not allowed here", "expected one of `present`, `absent`");
    let limits = Limits { min: Some(1), max: Some(9), ..Limits::default() };
    check(Type::Int, int(0, "0"), limits, "0 is too small", "expected a value from 1 to 9");
    check(Type::Int, text("10"), limits, "10 is too large", "expected a value from 1 to 9");
    let limits = Limits { pattern: Some("a|b+"), ..Limits::default() };
    assert_eq!(read(&Type::Text, &text("bb"), limits), Ok(Scalar::from("bb")));
    check(Type::Text, text("ab"), limits, "`ab` does not match `a|b+`", "");
}

#[test]
fn a_secret_is_checked_without_being_quoted() {
    let check = |ty: Type, text: &str, message: Option<&str>| {
        let found = read_secret(&ty, text, Limits::default()).err().map(|error| error.message);
        assert_eq!(found.as_deref(), message);
    };
    check(Type::Text, "hunter2", None);
    check(Type::Name, "hunter 2", Some("the secret is not a valid name"));
    check(Type::Int, "4", Some("a secret cannot be of type int"));
}

#[test]
fn results_of_expressions_are_inputs() {
    assert_eq!(input_of(&Value::from(4_u64)), Some(Input::Int(4, None)));
    assert_eq!(input_of(&Value::from(0.5)), Some(Input::Float(0.5, None)));
    assert_eq!(input_of(&Value::from("x")), Some(text("x")));
    assert_eq!(input_of(&Value::from(true)), Some(Input::Bool(true)));
    assert_eq!(input_of(&Value::from(())), None);
    assert_eq!(input_of(&Value::from(vec![1])), None);
}

#[test]
fn a_declaration_is_checked() {
    assert!(check_param(&Param::new("a", Type::Text, "").pattern("[")).is_err());
    assert!(check_param(&Param::new("a", Type::Int, "").range(2, 1)).is_err());
    assert!(check_param(&Param::new("a", Type::Text, "").pattern("[a-z]+")).is_ok());
}
