//! Convolutions whose epilogues run in the same kernel: what the other tests check of convolutions, where every epilogue that
//! cuDNN can compute is.

use candle_core::{Device, Tensor};
use nn::{BatchNormParams, Conv2d, FoldedConvBn, Precision, ResidualLayer};

use super::{
    device::{floats, run_again},
    gpu, random_tensor, with_precision,
};

#[test]
fn epilogues_in_the_kernel_of_their_convolution_equal_the_cpus() {
    let Some((_, _lock)) = gpu("epilogues_in_the_kernel_of_their_convolution_equal_the_cpus")
    else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("plans.json");
    let settings = [
        ("MITHRIDATE_CONV", "fused"),
        ("MITHRIDATE_PLAN_CACHE", file.to_str().unwrap()),
    ];
    for test in [
        "one_frozen_residual_block",
        "one_convolution_and_transposed",
        "a_frozen_relu_leaves_nan",
    ] {
        run_again(test, &settings);
    }
    let plans: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    let devices = plans["devices"].as_object().unwrap();
    let choices = devices.values().next().unwrap().as_object().unwrap();
    for epilogue in [
        "epilogue",
        "epilogue with relu",
        "epilogue with residual and relu",
    ] {
        let is_fused = choices.iter().any(|(task, choice)| {
            task.starts_with("forward")
                && task.ends_with(&format!("tf32, maps f32, {epilogue}"))
                && choice.is_object()
        });
        assert!(is_fused, "{epilogue}: {plans:#}");
    }
}

#[test]
fn a_frozen_relu_leaves_nan_as_it_is() {
    let Some((gpu, _lock)) = gpu("a_frozen_relu_leaves_nan_as_it_is") else {
        return;
    };
    let mut values = floats(&random_tensor(&[2, 8, 8, 16], 1));
    values[0] = f32::NAN;
    let count = |device: &Device, options| -> usize {
        let on = |t: Tensor| t.to_device(device).unwrap();
        let filter = Conv2d {
            weight: on(random_tensor(&[16, 16, 3, 3], 2)),
            stride: 1,
            padding: 1,
            options,
        };
        let norm = BatchNormParams {
            gamma: on(Tensor::ones(16, candle_core::DType::F32, &Device::Cpu).unwrap()),
            beta: on(random_tensor(&[16], 3)),
            mean: on(random_tensor(&[16], 4)),
            variance: on((random_tensor(&[16], 5) + 0.5).unwrap()),
        };
        let layer = ResidualLayer::Plain(FoldedConvBn::new(&filter, &norm).unwrap());
        let x = Tensor::from_vec(values.clone(), (2, 8, 8, 16), device).unwrap();
        let y = nn::residual_eval(&x, &[layer]).unwrap();
        floats(&y).into_iter().filter(|y| y.is_nan()).count()
    };
    // Four positions of one image see the first.
    for precision in [Precision::F32, Precision::Tf32, Precision::Bf16] {
        let device = with_precision(&gpu, precision, false);
        assert_eq!(count(&device, device.options), 4 * 16, "{precision}");
    }
}
