//! SGD steps equal PyTorch's; its state is saved and restored.

use candle_core::{DType, Device};

use super::*;
use crate::config::Optimizer;

const RATES: [f64; 4] = [0.1, 0.1, 0.01, 0.5];

fn variables() -> BTreeMap<String, Var> {
    let weight = Var::new(&[[1.0f32, -2.0], [0.5, 3.0]], &Device::Cpu).unwrap();
    let bias = Var::new(&[0.25f32, -0.75], &Device::Cpu).unwrap();
    [("weight".into(), weight), ("bias".into(), bias)].into()
}

fn loss(variables: &BTreeMap<String, Var>) -> Tensor {
    let (w, b) = (
        variables["weight"].as_tensor(),
        variables["bias"].as_tensor(),
    );
    let loss = (w.sin().unwrap() * w).unwrap().sum_all().unwrap();
    (loss + w.broadcast_mul(b).unwrap().sum_all().unwrap()).unwrap()
}

fn values(tensors: [&Tensor; 2]) -> Vec<f32> {
    let flat = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    tensors.into_iter().flat_map(flat).collect()
}

// import torch
// w = torch.nn.Parameter(torch.tensor([[1.0, -2.0], [0.5, 3.0]]))
// b = torch.nn.Parameter(torch.tensor([0.25, -0.75]))
// sgd = torch.optim.SGD([w, b], lr=0.1, momentum=0.9, weight_decay=5e-4)
// for lr in (0.1, 0.1, 0.01, 0.5):
//     sgd.param_groups[0]["lr"] = lr
//     sgd.zero_grad()
//     ((w.sin() * w).sum() + (w * b).sum()).backward()
//     sgd.step()
//     print([*w.flatten().tolist(), *b.tolist()])
// print([sgd.state[p]["momentum_buffer"].flatten().tolist() for p in (w, b)])
#[rustfmt::skip]
const EXPECTED: [[f32; 6]; 4] = [
    [0.836_772_7, -1.917_199_6, 0.383_153_32, 3.357_736, 0.099_987_49, -0.849_962_53],
    [0.549_526_7, -1.728_619_3, 0.195_051_6, 4.113_933_6, -0.157_021_34, -1.083_939_9],
    [0.515_333, -1.693_640_2, 0.175_839_98, 4.224_249, -0.187_597_14, -1.128_845_6],
    [-1.400_329_8, 0.837_733_75, -0.768_960_06, 11.183_956, -1.909_047_5, -4.414_623_7],
];
#[rustfmt::skip]
const VELOCITY: [f32; 6] =
    [3.831_325_5, -5.062_748, 1.889_600_1, -13.919_415, 3.442_900_7, 6.571_556];

fn assert_close(found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len());
    for (f, e) in found.iter().zip(expected) {
        assert!(
            (f - e).abs() <= 2e-6 * e.abs().max(1.0),
            "{found:?} {expected:?}"
        );
    }
}

#[test]
fn four_sgd_steps_and_velocities_equal_pytorch() {
    let variables = variables();
    let mut sgd = Sgd::new(variables.clone(), &Optimizer::default()).unwrap();
    for (lr, expected) in RATES.iter().zip(EXPECTED) {
        sgd.step(&loss(&variables), *lr).unwrap();
        let found = values([&variables["weight"], &variables["bias"]]);
        assert_close(&found, &expected);
    }
    let state = sgd.state().unwrap();
    assert_close(&values([&state["weight"], &state["bias"]]), &VELOCITY);
}

/// Parameters after each of four steps with the rates above.
fn steps(
    optimizer: &mut dyn ParameterOptimizer,
    variables: &BTreeMap<String, Var>,
    expected: &[[f32; 6]; 4],
) {
    for (lr, expected) in RATES.iter().zip(expected) {
        optimizer.step(&loss(variables), *lr).unwrap();
        let found = values([&variables["weight"], &variables["bias"]]);
        assert_close(&found, expected);
    }
}

// The same with torch.optim.SGD(..., nesterov=True) and, before each step,
// torch.nn.utils.clip_grad_norm_([w, b], 1.0); and with torch.optim.AdamW([w, b], lr=0.1, weight_decay=5e-4).
#[rustfmt::skip]
const NESTEROV_CLIPPED: [[f32; 6]; 4] = [
    [0.931_875_17, -1.965_331_6, 0.451_248_65, 3.148_920_3, 0.187_440_13, -0.791_619_5],
    [0.841_854_7, -1.912_577_9, 0.389_868_08, 3.367_603_3, 0.106_273_636, -0.855_906_5],
    [0.831_439_3, -1.905_357_2, 0.383_149_65, 3.395_936_5, 0.097_021_07, -0.864_828_35],
    [0.230_854_75, -1.464_740_5, 0.003_736_764, 5.093_559, -0.433_702_74, -1.411_336_2],
];
#[rustfmt::skip]
const ADAMW: [[f32; 6]; 4] = [
    [0.899_95, -1.899_9, 0.399_975, 3.099_85, 0.149_987_5, -0.849_962_5],
    [0.800_235_6, -1.800_424_5, 0.301_381_7, 3.199_827_2, 0.050_605_94, -0.949_981_4],
    [0.790_338_64, -1.790_491_5, 0.291_857_33, 3.209_845_3, 0.040_788_535, -0.960_000_1],
    [0.297_316_25, -1.290_477_9, -0.175_797_2, 3.711_566_4, -0.447_244_14, -1.462_607_9],
];

#[test]
fn four_nesterov_steps_with_clipped_gradients_equal_pytorch() {
    let variables = variables();
    let settings = Optimizer {
        nesterov: true,
        clip_norm: Some(1.0),
        ..Optimizer::default()
    };
    let mut sgd = Sgd::new(variables.clone(), &settings).unwrap();
    steps(&mut sgd, &variables, &NESTEROV_CLIPPED);
}

#[test]
fn four_adamw_steps_equal_pytorch_also_when_resumed_after_two() {
    let variables = variables();
    let mut adamw = AdamW::new(variables.clone(), 5e-4).unwrap();
    for (lr, expected) in RATES.iter().zip(ADAMW) {
        adamw.step(&loss(&variables), *lr).unwrap();
        assert_close(
            &values([&variables["weight"], &variables["bias"]]),
            &expected,
        );
        let state = adamw.state().unwrap();
        adamw = AdamW::new(variables.clone(), 5e-4).unwrap();
        adamw.restore(&state).unwrap();
    }
    let before = values([&variables["weight"], &variables["bias"]]);
    let infinite = (loss(&variables) * f64::INFINITY).unwrap();
    adamw.step(&infinite, 0.1).unwrap();
    assert_eq!(values([&variables["weight"], &variables["bias"]]), before);
}

#[test]
fn a_non_finite_loss_updates_nothing() {
    let variables = variables();
    let before = values([&variables["weight"], &variables["bias"]]);
    let mut sgd = Sgd::new(variables.clone(), &Optimizer::default()).unwrap();
    let loss = (loss(&variables) * f64::NAN).unwrap();
    sgd.step(&loss, 0.1).unwrap();
    assert_eq!(values([&variables["weight"], &variables["bias"]]), before);
    assert_eq!(values([&sgd.state().unwrap()["bias"]; 2]), [0.0; 4]);
}

#[test]
fn a_restored_optimizer_resumes_bit_for_bit() {
    let whole = variables();
    let mut sgd = Sgd::new(whole.clone(), &Optimizer::default()).unwrap();
    for lr in &RATES[..2] {
        sgd.step(&loss(&whole), *lr).unwrap();
    }
    let state = sgd.state().unwrap();
    let copy = |var: &Var| Var::from_tensor(&var.copy().unwrap()).unwrap();
    let resumed: BTreeMap<String, Var> = whole
        .iter()
        .map(|(name, var)| (name.clone(), copy(var)))
        .collect();
    let mut other = Sgd::new(resumed.clone(), &Optimizer::default()).unwrap();
    other.restore(&state).unwrap();
    for lr in &RATES[2..] {
        sgd.step(&loss(&whole), *lr).unwrap();
        other.step(&loss(&resumed), *lr).unwrap();
    }
    let bits = |vars: &BTreeMap<String, Var>| {
        values([&vars["weight"], &vars["bias"]])
            .into_iter()
            .map(f32::to_bits)
            .collect()
    };
    let (expected, found): (Vec<u32>, Vec<u32>) = (bits(&whole), bits(&resumed));
    assert_eq!(found, expected);
    // What was saved is a copy: the later steps did not write into it.
    let now = sgd.state().unwrap();
    let of = |state: &BTreeMap<String, Tensor>| values([&state["weight"], &state["bias"]]);
    assert_ne!(of(&state), of(&now));
}

#[test]
fn a_parameter_without_a_gradient_is_named_and_nothing_is_updated() {
    let variables = variables();
    let mut sgd = Sgd::new(variables.clone(), &Optimizer::default()).unwrap();
    let loss = variables["bias"].sum_all().unwrap();
    let error = sgd.step(&loss, 0.1).unwrap_err();
    assert!(error.to_string().contains("parameter weight"), "{error}");
    assert_eq!(values([&variables["bias"], &variables["bias"]])[0], 0.25);
}

#[test]
fn optimizer_state_of_another_model_is_refused() {
    let mut sgd = Sgd::new(variables(), &Optimizer::default()).unwrap();
    let good = sgd.state().unwrap();
    let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();

    let mut missing = good.clone();
    missing.remove("bias");
    let mut unknown = good.clone();
    unknown.insert("gain".into(), zeros(&[1]));
    let mut reshaped = good.clone();
    reshaped.insert("weight".into(), zeros(&[4]));
    for (state, name) in [(missing, "bias"), (unknown, "gain"), (reshaped, "weight")] {
        let error = sgd.restore(&state).unwrap_err();
        assert_eq!(error.exit_code(), 3);
        assert!(error.to_string().contains(name), "{error}");
    }
    sgd.restore(&good).unwrap();
}
