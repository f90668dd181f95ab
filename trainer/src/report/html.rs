//! Strings for HTML: anything from a file comes in, text that no browser takes for markup goes
//! out; and numbers as the page shows them.

/// Text with the five characters that mean something in HTML replaced.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// A part of 1 in percent with one decimal, without the sign: `0.8464` is `84.6`.
pub fn percent(part: f64) -> String {
    format!("{:.1}", 100.0 * part)
}

/// A number to four significant digits, as short as it goes.
pub fn short(number: f64) -> String {
    let rounded: f64 = format!("{number:.3e}").parse().unwrap_or(number);
    match rounded.abs() {
        0.0 => "0".into(),
        1e-4..1e6 => rounded.to_string(),
        _ => format!("{rounded:e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_becomes_text() {
        let text = r#"<a href="x" id='y'>&</a>"#;
        let escaped = "&lt;a href=&quot;x&quot; id=&#39;y&#39;&gt;&amp;&lt;/a&gt;";
        assert_eq!(escape(text), escaped);
    }

    #[test]
    fn numbers_are_short() {
        let numbers = [0.0, 0.1 + 0.2, 1234.56, 0.00001, 2.5e9, f64::NAN].map(short);
        assert_eq!(numbers, ["0", "0.3", "1235", "1e-5", "2.5e9", "NaN"]);
        assert_eq!(percent(0.84649), "84.6");
    }
}
