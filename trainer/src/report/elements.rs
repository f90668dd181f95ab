//! HTML elements that several sections use. Every string is escaped by the templates.

use maud::{Markup, html};

/// A paragraph of small print.
pub fn note(text: &str) -> Markup {
    html! { p.note { (text) } }
}

/// A box that the reader opens.
pub fn details(summary: &str, body: &Markup) -> Markup {
    html! { details { summary { (summary) } (body) } }
}

/// A box that scrolls sideways where its content is too wide, reachable with the keyboard.
pub fn scrollable(label: &str, content: &Markup) -> Markup {
    html! { div.scroll tabindex="0" role="region" aria-label=(label) { (content) } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_in_text_and_attributes_is_escaped() {
        let text = r#"<a href="x">&</a>"#;
        let escaped = "&lt;a href=&quot;x&quot;&gt;&amp;&lt;/a&gt;";
        assert_eq!(note(text).0, format!("<p class=\"note\">{escaped}</p>"));
        let scrollable = scrollable(text, &note("")).0;
        assert!(
            scrollable.contains(&format!("aria-label=\"{escaped}\"")),
            "{scrollable}"
        );
    }
}
