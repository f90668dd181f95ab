//! The data sheet as Markdown, for people.

use store::Info;

use super::{CONTENT, HASH_LINE};

/// The card: hashes and settings, splits, attacks with success rates and distances, warnings, advice.
pub fn markdown(info: &Info, name: &str) -> String {
    let (meta, spec) = (&info.meta, &info.meta.spec);
    let hash = meta.content_hash.as_deref().unwrap_or_default();
    let mut text = format!(
        "# {name}\n\n{}: {CONTENT}, in one SQLite file of {:.1} MB.\n\n",
        code(&spec.dataset),
        info.bytes as f64 / 1e6
    );
    let mut add = |line: String| {
        text.push_str(&line);
        text.push('\n');
    };
    for (what, value) in [
        (HASH_LINE, hash),
        ("Hash of the source", &spec.source_hash),
        ("Preset", &spec.preset),
        ("Seed", &spec.seed.to_string()),
        ("Attacked model", &info.model.name),
        ("SHA-256 of its weights", &info.model.sha256),
        ("Its settings", &info.model.config.to_string()),
        ("Classes", &spec.classes.join(", ")),
        ("Made", &meta.created),
        ("By generator", &spec.generator_version),
        ("On", &meta.device),
        ("License", &meta.license),
    ] {
        add(format!("- {what}: {}", code(value)));
    }
    add("\n## Images\n\n| split | images | the model's accuracy |\n|---|---|---|".into());
    for split in &info.splits {
        let accuracy = percent(split.clean_accuracy);
        add(format!(
            "| {} | {} | {accuracy} |",
            split.split, split.images
        ));
    }
    add("\n## Attacks\n\n| attack | parameters |\n|---|---|".into());
    for attack in &info.attacks {
        add(format!(
            "| {} | {} |",
            code(&attack.name),
            code(&attack.params.to_string())
        ));
    }
    add(
        "\nThe model's accuracy on each attack's samples, the share of correctly classified clean images whose \
         samples it misclassifies, samples that equal their clean image, and the mean distances from the clean \
         images (pixels in [0,1]):\n\n\
         | split | attack | accuracy | success | unchanged | L2 | L-infinity |\n|---|---|---|---|---|---|---|"
            .into(),
    );
    for row in &info.summary {
        let accuracy = percent(Some(row.surrogate_accuracy));
        let (success, l2, linf) = (percent(row.success), row.mean_l2, row.mean_linf);
        add(format!(
            "| {} | {} | {accuracy} | {success} | {} | {l2:.4} | {linf:.4} |",
            row.split,
            code(&row.attack),
            row.unchanged
        ));
    }
    let partial = meta.partial();
    let warnings: Vec<&String> = meta.warnings.iter().chain(&partial).collect();
    if !warnings.is_empty() {
        add("\n## Warnings\n".into());
        for warning in warnings {
            add(format!("- {}", code(warning)));
        }
    }
    add(format!(
        "\n## Use\n\nThe variants fool the model above, and others less: accuracy on them says how robust \
         a model is against these very images, not against an attack on itself. Check the file before \
         use with `generator verify {name}`, which must end with the content hash above."
    ));
    text
}

fn percent(share: Option<f64>) -> String {
    share.map_or("-".into(), |share| format!("{:.2} %", 100.0 * share))
}

/// Text from a store as inline code on one line, so that nothing in it is markup.
fn code(text: &str) -> String {
    let characters = text.chars().map(|character| match character {
        '`' => '\'',
        '|' => '\u{a6}',
        control if control.is_control() => ' ',
        plain => plain,
    });
    format!("`{}`", characters.collect::<String>())
}

#[cfg(test)]
mod tests {
    #[test]
    fn text_from_a_store_is_escaped_in_the_markdown_card() {
        let escaped = super::code("a`<b>\n# x | y");
        assert_eq!(escaped, "`a'<b> # x \u{a6} y`");
    }
}
