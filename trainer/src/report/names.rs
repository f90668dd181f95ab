//! How the page names and colors things: an attack's name comes in, what people call it and a
//! color of the palette go out, the same in every table and chart.

/// The paper's attacks in the paper's order: name, label, color of the palette.
const ATTACKS: [(&str, &str, usize); 6] = [
    ("gaussian", "Gaussian", 1),
    ("fgsm", "FGSM", 2),
    ("bim", "BIM", 3),
    ("deepfool", "DeepFool", 4),
    ("cw", "C&W", 5),
    ("nst", "NST", 6),
];

/// The color of clean images and of what holds for all of them.
pub const CLEAN: usize = 0;
/// The color of a quantity that is none of the attacks.
pub const OTHER: usize = 7;

/// What people call an attack; a name that is not the paper's stands for itself.
pub fn label(attack: &str) -> &str {
    if attack == "clean" {
        return "Clean";
    }
    known(attack).map_or(attack, |&(_, label, _)| label)
}

/// The attack's color.
pub fn color(attack: &str) -> usize {
    known(attack).map_or(OTHER, |&(_, _, color)| color)
}

/// The given names, each once: the paper's in the paper's order, then others as they came.
pub fn in_order<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut order: Vec<&str> = Vec::new();
    for name in names {
        if !order.contains(&name) {
            order.push(name);
        }
    }
    order.sort_by_key(|name| {
        ATTACKS
            .iter()
            .position(|a| a.0 == *name)
            .unwrap_or(ATTACKS.len())
    });
    order
}

fn known(attack: &str) -> Option<&'static (&'static str, &'static str, usize)> {
    ATTACKS.iter().find(|(name, ..)| *name == attack)
}
