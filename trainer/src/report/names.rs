//! Labels, colors and order of attacks, the same in every table and chart. Reports show stores and runs of
//! other versions, too: an attack that this version does not have goes by its name in the file.

use attacks::AttackKind;

/// The color of clean images and of what holds for all of them.
pub const CLEAN: usize = 0;

/// Places between the colors of an attack in two stores.
const COLORS_OF_A_STORE: usize = 6;

/// Colors of the palette in style.css for attacks: `.c1` to `.c10`, from the eleventh attack on again.
const ATTACK_COLORS: usize = 10;

/// The color of attacks that this version does not have.
const UNKNOWN: usize = 11;

/// What people call an attack.
pub fn label(attack: &str) -> &str {
    if attack == "clean" {
        return "Clean";
    }
    kind(attack).map_or(attack, |kind| kind.label())
}

/// The label as the heading of a column: noise, which is not adversarial, is marked.
pub fn heading(attack: &str) -> String {
    match kind(attack) {
        Some(kind) if !kind.traits().adversarial => format!("{} (noise)", kind.label()),
        _ => label(attack).into(),
    }
}

/// The attack's color of the palette, also that of one of several stores, `2/fgsm`. Ids never change, so neither do colors.
pub fn color(attack: &str) -> usize {
    let (store, name) = attack.split_once('/').unwrap_or(("1", attack));
    match (store.parse::<usize>(), kind(name)) {
        (Ok(store @ 1..), Some(kind)) => {
            let place = usize::from(kind.id()) - 1 + COLORS_OF_A_STORE * (store - 1);
            1 + place % ATTACK_COLORS
        }
        _ => UNKNOWN,
    }
}

/// The given names, each once: by id, then those without one as they came.
pub fn in_order<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut order: Vec<&str> = Vec::new();
    for name in names {
        if !order.contains(&name) {
            order.push(name);
        }
    }
    order.sort_by_key(|name| kind(name).map_or(u8::MAX, AttackKind::id));
    order
}

fn kind(attack: &str) -> Option<AttackKind> {
    attack.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attacks_are_in_the_order_of_their_ids_and_unknown_ones_last() {
        let names = ["no-such-attack", "cw", "fgsm", "cw"];
        assert_eq!(
            in_order(names.into_iter()),
            ["fgsm", "cw", "no-such-attack"]
        );
        assert_eq!(label("cw"), "C&W");
        assert_eq!(label("no-such-attack"), "no-such-attack");
        assert_eq!(heading("no-such-attack"), "no-such-attack");
        assert_eq!(
            ["gaussian", "nst"].map(heading),
            ["Gaussian (noise)", "NST"]
        );
    }

    #[test]
    fn every_attack_has_a_color_of_the_palette() {
        let style = include_str!("style.css");
        let colors = AttackKind::ALL.into_iter().map(|kind| color(kind.name()));
        let of_stores = ["1/pgd", "2/pgd", "3/pgd", "2/fgsm"].map(color);
        assert_eq!(of_stores, [7, 3, 9, 8]);
        assert_eq!(["x", "0/pgd", "a/pgd"].map(color), [UNKNOWN; 3]);
        for color in colors.chain([CLEAN, UNKNOWN]) {
            assert!(style.contains(&format!(".c{color} {{ color: var(--c{color}); }}")));
            assert_eq!(style.matches(&format!("--c{color}: #")).count(), 2);
        }
    }
}
