//! Numbers with units: `"1h30m"` in milliseconds, `"16m"` in bytes.

/// Why a text is not a number with a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UnitError {
    /// There is a number, but no unit.
    NoUnit,
    /// The number does not fit into 64 bits.
    TooLarge,
    /// Any other mistake.
    Wrong,
}

/// Returns the units of the same sort as `unit`, for help.
pub(super) fn known(unit: &str) -> &'static str {
    if unit == "s" { "ms, s, m, h, d, w" } else { "b, k, m, g, t: powers of 1024" }
}

/// Returns a duration in milliseconds: `"90s"`, `"1h30m"`. `"1.5h"` is not valid.
pub(super) fn duration(text: &str) -> Result<i64, UnitError> {
    let mut rest = text;
    let mut total: i64 = 0;
    let mut last = i64::MAX;
    if rest.is_empty() {
        return Err(UnitError::Wrong);
    }
    while !rest.is_empty() {
        let (number, unit, after) = part(rest)?;
        let scale = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "w" => 604_800_000,
            _ => return Err(UnitError::Wrong),
        };
        // Larger units come first, each at most once.
        if scale >= last {
            return Err(UnitError::Wrong);
        }
        let value = number.checked_mul(scale).ok_or(UnitError::TooLarge)?;
        total = total.checked_add(value).ok_or(UnitError::TooLarge)?;
        (rest, last) = (after, scale);
    }
    Ok(total)
}

/// Returns a size in bytes: `"16m"`, `"2GiB"`. Every unit is a power of 1024.
pub(super) fn size(text: &str) -> Result<i64, UnitError> {
    let (number, unit, after) = part(text)?;
    let scale = match unit.to_ascii_lowercase().as_str() {
        "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        "t" | "tb" | "tib" => 1_i64 << 40,
        _ => return Err(UnitError::Wrong),
    };
    match after.is_empty() {
        true => number.checked_mul(scale).ok_or(UnitError::TooLarge),
        false => Err(UnitError::Wrong),
    }
}

/// Splits off a number and its unit, and returns them with the rest.
fn part(text: &str) -> Result<(i64, &str, &str), UnitError> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, rest) = text.split_at(digits);
    if number.is_empty() {
        return Err(UnitError::Wrong);
    }
    if rest.is_empty() {
        return Err(UnitError::NoUnit);
    }
    let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
    let (unit, after) = rest.split_at(letters);
    Ok((number.parse().map_err(|_| UnitError::TooLarge)?, unit, after))
}
