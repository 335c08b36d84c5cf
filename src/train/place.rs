//! Where the tensors of a training are: on the host, or on a CUDA device.

use tch::{Kind, TchError, Tensor};

use crate::clock::Recorder;
use crate::experiment::Plan;
use crate::experiment::plan::{Convolution, Device, Kernels, OptimizerForm};
use crate::train::TrainError;
use crate::train::shim::{self, CudaStream};

/// A device that libtorch reaches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place(tch::Device);

impl Place {
    pub const HOST: Self = Self(tch::Device::Cpu);

    /// Where `plan` trains, if that can be.
    pub fn of(plan: &Plan) -> Result<Self, TrainError> {
        let device = plan.device;
        let refused = |reason| Err(TrainError::Device { device, reason });
        let Device::Cuda(index) = device else {
            return match plan.graph {
                true => refused("graphs are for a GPU; use `--plan tuned`, or `--device cuda`".to_owned()),
                false => Ok(Self::HOST),
            };
        };
        if plan.graph && plan.optimizer != OptimizerForm::Fused {
            return refused("a step is recorded as a graph with the fused optimizer alone".to_owned());
        }
        if plan.kernels == Kernels::Fused || plan.convolution != Convolution::Direct {
            return refused("pinbench's own kernels are for the CPU; use `--plan tuned`".to_owned());
        }
        let devices = shim::cuda()?.map(|cuda| cuda.devices);
        match out_of_reach(index, devices, &shim::version()?) {
            Some(reason) => refused(reason),
            None if plan.graph && !shim::graph::is_built() => refused(
                "this build has no CUDA graphs; run `just setup cuda` and `just build`, or use `--plan tuned`".to_owned(),
            ),
            None => Ok(Self(tch::Device::Cuda(index as usize))),
        }
    }

    /// `tensor` at this place: the very same one on the host. A copy to a device is queued there and not waited for;
    /// `tensor` may go before it is done, for the driver has by then taken what it needs from memory like ours, which is
    /// not page-locked.
    pub fn put(self, tensor: Tensor) -> Result<Tensor, TchError> {
        match self.0 {
            tch::Device::Cpu => Ok(tensor),
            device => tensor.f_to_device_(device, tensor.kind(), true, false),
        }
    }

    /// What times a step here beside the host's clock: nothing on the host itself.
    pub fn recorder(self) -> Option<Recorder<CudaStream>> {
        self.stream().map(Recorder::new)
    }

    /// A mean loss and a count of images, scalars at this place, on the host. A device is waited for once, for both: they come
    /// in one copy, in which the count is a float, exact below 2²⁴.
    pub fn read_back(self, loss: &Tensor, count: &Tensor) -> Result<(f64, u32), TchError> {
        if self == Self::HOST {
            return Ok((loss.f_double_value(&[])?, count.f_int64_value(&[])? as u32));
        }
        self.read(&result(loss, count)?)
    }

    /// What [`result`] made, on the host; waits for it.
    pub fn read(self, result: &Tensor) -> Result<(f64, u32), TchError> {
        let both = result.f_to_device(tch::Device::Cpu)?;
        Ok((both.f_double_value(&[0])?, both.f_double_value(&[1])? as u32))
    }

    /// Has this thread queue its work where it can be recorded as a graph.
    pub fn use_stream(self) -> Result<(), TrainError> {
        match self.0 {
            tch::Device::Cuda(index) => shim::graph::use_stream(index),
            _ => Ok(()),
        }
    }

    /// Waits for all work that was asked for here. On the host it is done when a call returns.
    pub fn wait(self) -> Result<(), TrainError> {
        self.stream().map_or(Ok(()), CudaStream::wait)
    }

    /// Sets how many bits of a float are multiplied here. The host always takes all of them.
    pub fn set_tf32(self, convolutions: bool) -> Result<(), TrainError> {
        self.stream().map_or(Ok(()), |_| shim::set_tf32(convolutions))
    }

    fn stream(self) -> Option<CudaStream> {
        match self.0 {
            tch::Device::Cuda(index) => Some(CudaStream::of(index)),
            _ => None,
        }
    }
}

/// Loss and count in one tensor [2] of floats.
pub(super) fn result(loss: &Tensor, count: &Tensor) -> Result<Tensor, TchError> {
    Tensor::f_stack(&[loss.f_detach()?, count.f_to_kind(Kind::Float)?], 0)
}

/// Why there is no CUDA device of this number, and what to do; `devices` is `None` for a libtorch without CUDA.
fn out_of_reach(index: u32, devices: Option<u32>, version: &str) -> Option<String> {
    let Some(devices) = devices else {
        return Some(format!(
            "libtorch {version} is linked in its flavour without CUDA; run `just setup cuda` and `just build`, or use \
             `--device cpu`"
        ));
    };
    match devices {
        _ if index < devices => None,
        0 => Some(format!(
            "libtorch {version} has CUDA but sees no GPU; look at `nvidia-smi` and CUDA_VISIBLE_DEVICES, or use \
             `--device cpu`"
        )),
        1 => Some("libtorch sees one GPU; use `--device cuda:0`".to_owned()),
        _ => Some(format!("libtorch sees cuda:0 to cuda:{}; use one of them", devices - 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::plan::PlanName;
    use crate::machine::Cuda;

    fn plan(name: PlanName, device: Device) -> Plan {
        Plan::named(name, 1, device)
    }

    #[test]
    fn on_the_host_a_tensor_stays_where_it_is_and_nothing_else_is_timed() {
        let place = Place::of(&plan(PlanName::Fused, Device::Cpu)).unwrap();
        assert_eq!(place, Place::HOST);
        let tensor = Tensor::from_slice(&[1.0_f32, 2.0]);
        let before = tensor.data_ptr();
        assert_eq!(place.put(tensor).unwrap().data_ptr(), before);
        assert!(place.recorder().is_none());
        place.wait().unwrap();
        place.set_tf32(true).unwrap();
    }

    #[test]
    fn a_device_that_is_not_there_is_refused_with_what_is_and_the_way_out() {
        let refusal = |index, devices| out_of_reach(index, devices, "2.13.0").unwrap_or_default();
        assert!(refusal(0, None).contains("libtorch 2.13.0") && refusal(0, None).contains("just setup cuda"));
        assert!(refusal(0, Some(0)).contains("nvidia-smi"));
        assert!(refusal(1, Some(1)).contains("--device cuda:0"));
        assert!(refusal(4, Some(4)).contains("cuda:0 to cuda:3"));
        assert_eq!(refusal(3, Some(4)), "");
    }

    #[test]
    fn a_plan_for_a_gpu_that_is_not_there_is_refused_in_either_flavour() {
        let error = Place::of(&plan(PlanName::Tuned, Device::Cuda(999))).unwrap_err().to_string();
        let way_out = match shim::cuda().unwrap() {
            None => "`just setup cuda` and `just build`",
            Some(Cuda { devices: 0, .. }) => "has CUDA but sees no GPU",
            Some(_) => "libtorch sees",
        };
        assert!(error.contains("'cuda:999' cannot be used") && error.contains(way_out), "{error}");
    }

    #[test]
    fn kernels_of_the_cpu_are_not_taken_for_those_of_a_gpu() {
        let error = Place::of(&plan(PlanName::Fused, Device::Cuda(0))).unwrap_err().to_string();
        assert!(error.contains("--plan tuned"), "{error}");
    }
}
