//! The attacks' settings: what is accepted must come back from its own text.
#![no_main]

use attacks::{AttackConfig, AttackKind, Preset};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let path = fuzz::file("attacks.toml", bytes);
    for preset in [Preset::Paper, Preset::Standard] {
        let Some(config) = fuzz::checked(AttackConfig::load(preset, Some(&path))) else {
            continue;
        };
        let text = config.to_toml().expect("settings as text");
        let again = AttackConfig::preset(preset).overlay(&text, "again");
        assert_eq!(again.expect("its own text"), config);
        for kind in AttackKind::ALL {
            config.build(kind);
            assert!(!config.params_json(kind).contains('\n'));
        }
    }
});
