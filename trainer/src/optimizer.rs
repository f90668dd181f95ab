//! SGD with momentum and weight decay: gradients and a learning rate come in, parameters are
//! updated in place. The semantics are those of `torch.optim.SGD` (dampening 0, no Nesterov):
//!
//! ```text
//! d = gradient + weight_decay * parameter
//! velocity = momentum * velocity + d        (velocity = 0 before the first step)
//! parameter = parameter - rate * velocity
//! ```
//!
//! State is keyed by parameter name, so what is saved fits whatever order parameters are made in.

use std::collections::BTreeMap;

use candle_core::{
    CpuStorage, InplaceOp2, InplaceOp3, Layout, Tensor, Var, backprop::GradStore, bail,
};
use rayon::prelude::*;
use shared::{Error, Result};

/// Elements a thread updates at a time: enough to outweigh handing them out.
const CHUNK: usize = 1 << 15;

/// The optimizer and its state, on the parameters' device.
pub struct Sgd {
    parameters: BTreeMap<String, Parameter>,
    momentum: f64,
    weight_decay: f64,
}

struct Parameter {
    var: Var,
    velocity: Tensor,
}

impl Sgd {
    /// An optimizer of `params` (f32) at rest.
    ///
    /// # Errors
    /// [`Error::Tensor`] when the device refuses the memory.
    pub fn new(params: BTreeMap<String, Var>, momentum: f64, weight_decay: f64) -> Result<Self> {
        let mut parameters = BTreeMap::new();
        for (name, var) in params {
            let velocity = var.zeros_like()?.detach();
            parameters.insert(name, Parameter { var, velocity });
        }
        Ok(Self {
            parameters,
            momentum,
            weight_decay,
        })
    }

    /// Takes one step of size `lr` along `grads`. Nothing is updated when it fails on a missing
    /// gradient.
    ///
    /// # Errors
    /// [`Error::Data`] naming a parameter that has no gradient; [`Error::Tensor`].
    pub fn step(&mut self, grads: &GradStore, lr: f64) -> Result<()> {
        for (name, parameter) in &self.parameters {
            if grads.get(&parameter.var).is_none() {
                let what = format!("parameter {name}");
                return Err(Error::data(what, "no gradient", "one from the loss"));
            }
        }
        for parameter in self.parameters.values_mut() {
            if let Some(gradient) = grads.get(&parameter.var) {
                let gradient = gradient.detach().contiguous()?;
                if gradient.device().is_cpu() {
                    parameter.step_in_place(&gradient, lr, self.momentum, self.weight_decay)?;
                } else {
                    parameter.step(&gradient, lr, self.momentum, self.weight_decay)?;
                }
            }
        }
        Ok(())
    }

    /// A copy of every parameter's velocity, by name.
    ///
    /// # Errors
    /// [`Error::Tensor`] when the device refuses the memory.
    pub fn state(&self) -> Result<BTreeMap<String, Tensor>> {
        let copy = |(name, parameter): (&String, &Parameter)| {
            Ok((name.clone(), parameter.velocity.copy()?))
        };
        self.parameters.iter().map(copy).collect()
    }

    /// Takes back what [`Sgd::state`] gave, from any device. All of it fits, or nothing changes.
    ///
    /// # Errors
    /// [`Error::Data`] when a name is missing or unknown, or a shape is another one.
    pub fn restore(&mut self, state: &BTreeMap<String, Tensor>) -> Result<()> {
        let what = |name: &str| format!("optimizer state of {name}");
        if let Some(name) = state.keys().find(|n| !self.parameters.contains_key(*n)) {
            return Err(Error::data(what(name), "a tensor", "no such parameter"));
        }
        let mut restored = Vec::with_capacity(state.len());
        for (name, Parameter { var, .. }) in &self.parameters {
            let shape = var.shape();
            let Some(saved) = state.get(name) else {
                return Err(Error::data(what(name), "nothing", format!("{shape:?}")));
            };
            if saved.shape() != shape || saved.dtype() != var.dtype() {
                return Err(Error::data(
                    what(name),
                    format!("{:?} {:?}", saved.dtype(), saved.shape()),
                    format!("{:?} {shape:?}", var.dtype()),
                ));
            }
            // A copy of our own: steps write into it.
            restored.push(
                saved
                    .to_device(var.device())?
                    .contiguous()?
                    .copy()?
                    .detach(),
            );
        }
        for (parameter, velocity) in self.parameters.values_mut().zip(restored) {
            parameter.velocity = velocity;
        }
        Ok(())
    }
}

impl Parameter {
    /// The step in tensor operations that every device has.
    fn step(&mut self, gradient: &Tensor, lr: f64, momentum: f64, decay: f64) -> Result<()> {
        // Detached, or the velocity would hold the graph of every step before it.
        let value = self.var.as_detached_tensor();
        let direction = (gradient + (&value * decay)?)?;
        self.velocity = ((&self.velocity * momentum)? + direction)?;
        Ok(self.var.set(&(value - (&self.velocity * lr)?)?)?)
    }

    /// The step in two passes over memory and no allocation, on the CPU.
    fn step_in_place(
        &mut self,
        gradient: &Tensor,
        lr: f64,
        momentum: f64,
        decay: f64,
    ) -> Result<()> {
        let accumulate = Accumulate {
            momentum: momentum as f32,
            decay: decay as f32,
        };
        self.velocity
            .inplace_op3(gradient, self.var.as_tensor(), &accumulate)?;
        self.var
            .inplace_op2(&self.velocity, &Descend { lr: lr as f32 })?;
        Ok(())
    }
}

/// `velocity = momentum * velocity + gradient + decay * parameter`.
struct Accumulate {
    momentum: f32,
    decay: f32,
}

impl InplaceOp3 for Accumulate {
    fn name(&self) -> &'static str {
        "sgd-accumulate"
    }

    fn cpu_fwd(
        &self,
        velocity: &mut CpuStorage,
        velocity_layout: &Layout,
        gradient: &CpuStorage,
        gradient_layout: &Layout,
        parameter: &CpuStorage,
        parameter_layout: &Layout,
    ) -> candle_core::Result<()> {
        let &Self { momentum, decay } = self;
        let velocity = floats_mut(velocity, velocity_layout)?;
        let gradient = floats(gradient, gradient_layout)?;
        let parameter = floats(parameter, parameter_layout)?;
        velocity
            .par_chunks_mut(CHUNK)
            .zip(gradient.par_chunks(CHUNK))
            .zip(parameter.par_chunks(CHUNK))
            .for_each(|((velocity, gradient), parameter)| {
                for ((v, g), p) in velocity.iter_mut().zip(gradient).zip(parameter) {
                    *v = momentum * *v + (g + decay * p);
                }
            });
        Ok(())
    }
}

/// `parameter = parameter - lr * velocity`.
struct Descend {
    lr: f32,
}

impl InplaceOp2 for Descend {
    fn name(&self) -> &'static str {
        "sgd-descend"
    }

    fn cpu_fwd(
        &self,
        parameter: &mut CpuStorage,
        parameter_layout: &Layout,
        velocity: &CpuStorage,
        velocity_layout: &Layout,
    ) -> candle_core::Result<()> {
        let &Self { lr } = self;
        let parameter = floats_mut(parameter, parameter_layout)?;
        let velocity = floats(velocity, velocity_layout)?;
        parameter
            .par_chunks_mut(CHUNK)
            .zip(velocity.par_chunks(CHUNK))
            .for_each(|(parameter, velocity)| {
                for (p, v) in parameter.iter_mut().zip(velocity) {
                    *p -= lr * v;
                }
            });
        Ok(())
    }
}

fn floats<'a>(storage: &'a CpuStorage, layout: &Layout) -> candle_core::Result<&'a [f32]> {
    match (storage, layout.contiguous_offsets()) {
        (CpuStorage::F32(all), Some((start, end))) => Ok(&all[start..end]),
        _ => bail!("SGD wants contiguous f32"),
    }
}

fn floats_mut<'a>(
    storage: &'a mut CpuStorage,
    layout: &Layout,
) -> candle_core::Result<&'a mut [f32]> {
    match (storage, layout.contiguous_offsets()) {
        (CpuStorage::F32(all), Some((start, end))) => Ok(&mut all[start..end]),
        _ => bail!("SGD wants contiguous f32"),
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::*;

    const RATES: [f64; 4] = [0.1, 0.1, 0.01, 0.5];

    fn variables() -> BTreeMap<String, Var> {
        let weight = Var::new(&[[1.0f32, -2.0], [0.5, 3.0]], &Device::Cpu).unwrap();
        let bias = Var::new(&[0.25f32, -0.75], &Device::Cpu).unwrap();
        [("weight".into(), weight), ("bias".into(), bias)].into()
    }

    fn gradients(variables: &BTreeMap<String, Var>) -> GradStore {
        let (w, b) = (
            variables["weight"].as_tensor(),
            variables["bias"].as_tensor(),
        );
        let loss = (w.sin().unwrap() * w).unwrap().sum_all().unwrap();
        let loss = (loss + w.broadcast_mul(b).unwrap().sum_all().unwrap()).unwrap();
        loss.backward().unwrap()
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
        [0.836_772_68, -1.917_199_6, 0.383_153_32, 3.357_735_9, 0.099_987_492, -0.849_962_53],
        [0.549_526_7, -1.728_619_3, 0.195_051_6, 4.113_933_6, -0.157_021_34, -1.083_939_9],
        [0.515_333, -1.693_640_2, 0.175_839_98, 4.224_249, -0.187_597_14, -1.128_845_6],
        [-1.400_329_8, 0.837_733_75, -0.768_960_06, 11.183_956, -1.909_047_5, -4.414_623_7],
    ];
    #[rustfmt::skip]
    const VELOCITY: [f32; 6] =
        [3.831_325_5, -5.062_747_9, 1.889_600_1, -13.919_415, 3.442_900_7, 6.571_556_1];

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
    fn four_steps_equal_pytorch_and_so_does_the_velocity() {
        let variables = variables();
        let mut sgd = Sgd::new(variables.clone(), 0.9, 5e-4).unwrap();
        for (lr, expected) in RATES.iter().zip(EXPECTED) {
            sgd.step(&gradients(&variables), *lr).unwrap();
            let found = values([&variables["weight"], &variables["bias"]]);
            assert_close(&found, &expected);
        }
        let state = sgd.state().unwrap();
        assert_close(&values([&state["weight"], &state["bias"]]), &VELOCITY);
    }

    #[test]
    fn the_tensor_operations_of_other_devices_equal_pytorch_too() {
        let variables = variables();
        let mut sgd = Sgd::new(variables.clone(), 0.9, 5e-4).unwrap();
        for (lr, expected) in RATES.iter().zip(EXPECTED) {
            let gradients = gradients(&variables);
            for parameter in sgd.parameters.values_mut() {
                let gradient = gradients.get(&parameter.var).unwrap();
                parameter.step(gradient, *lr, 0.9, 5e-4).unwrap();
            }
            let found = values([&variables["weight"], &variables["bias"]]);
            assert_close(&found, &expected);
        }
    }

    #[test]
    fn a_restored_optimizer_goes_on_bit_for_bit() {
        let whole = variables();
        let mut sgd = Sgd::new(whole.clone(), 0.9, 5e-4).unwrap();
        for lr in &RATES[..2] {
            sgd.step(&gradients(&whole), *lr).unwrap();
        }
        let state = sgd.state().unwrap();
        let copy = |var: &Var| Var::from_tensor(&var.copy().unwrap()).unwrap();
        let resumed: BTreeMap<String, Var> = whole
            .iter()
            .map(|(name, var)| (name.clone(), copy(var)))
            .collect();
        let mut other = Sgd::new(resumed.clone(), 0.9, 5e-4).unwrap();
        other.restore(&state).unwrap();
        for lr in &RATES[2..] {
            sgd.step(&gradients(&whole), *lr).unwrap();
            other.step(&gradients(&resumed), *lr).unwrap();
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
    fn a_parameter_without_a_gradient_is_named_and_nothing_moves() {
        let variables = variables();
        let mut sgd = Sgd::new(variables.clone(), 0.9, 5e-4).unwrap();
        let loss = variables["bias"].sum_all().unwrap();
        let error = sgd.step(&loss.backward().unwrap(), 0.1).unwrap_err();
        assert!(error.to_string().contains("parameter weight"), "{error}");
        assert_eq!(values([&variables["bias"], &variables["bias"]])[0], 0.25);
    }

    #[test]
    fn state_of_another_net_is_refused() {
        let mut sgd = Sgd::new(variables(), 0.9, 5e-4).unwrap();
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
}
