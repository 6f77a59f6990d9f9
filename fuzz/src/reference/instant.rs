//! Points in time as JSON has them, read digit by digit.

use super::json::Value;

/// Seconds, rounded down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seconds {
    /// Cut to what an i64 holds.
    pub whole: i64,
    /// It was written without fraction and exponent. Another number may be read as its neighbour.
    pub is_plain: bool,
}

/// A number, or a string of digits. `None` for anything else.
pub fn seconds(value: &Value) -> Option<Seconds> {
    match value {
        Value::Number(number) => Some(of_number(number)),
        Value::Text(text) => {
            let digits = &text.text;
            let is_number = !digits.is_empty() && digits.bytes().all(|it| it.is_ascii_digit());
            is_number.then(|| Seconds { whole: whole(digits), is_plain: true })
        }
        _ => None,
    }
}

fn of_number(number: &str) -> Seconds {
    let (negative, rest) = match number.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, number),
    };
    let (mantissa, exponent) = rest.split_once(['e', 'E']).unwrap_or((rest, "0"));
    let (before, after) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{before}{after}");
    // An exponent that an i64 does not hold has to do with a mantissa of zero, or is far below zero.
    let exponent =
        exponent.parse::<i64>().unwrap_or(if exponent.starts_with('-') { -9_999 } else { 0 });
    let point = before.len() as i64 + exponent;
    let at = |index: i64| {
        usize::try_from(index).ok().and_then(|index| digits.as_bytes().get(index)).unwrap_or(&b'0')
    };
    let integer: String = (0..point.min(400)).map(|index| char::from(*at(index))).collect();
    let has_fraction = (point.max(0)..digits.len() as i64).any(|index| *at(index) != b'0');
    let whole = whole(&integer);
    let whole = if !negative {
        whole
    } else if whole == i64::MAX {
        i64::MIN
    } else {
        -whole - i64::from(has_fraction)
    };
    Seconds { whole, is_plain: rest.bytes().all(|it| it.is_ascii_digit()) }
}

fn whole(digits: &str) -> i64 {
    let add = |sum: i128, digit: u8| (sum * 10 + i128::from(digit - b'0')).min(i64::MAX.into());
    digits.bytes().fold(0, add) as i64
}
