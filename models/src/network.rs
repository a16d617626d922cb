//! A network on a device: one session per input shape, with its input and outputs bound to buffers that are reused.
//!
//! A fixed shape lets the runtime plan memory and pick kernels once; a new shape costs a search, so the few last used
//! stay loaded.

use crate::bake::onnx::{self, Dimension};
use crate::manifest::ModelEntry;
use crate::runtime::{self, Runtime};
use crate::{DeviceKind, ModelError, ModelStore, NumericProfile, device};
use ort::memory::{AllocationDevice, Allocator, AllocatorType, MemoryInfo, MemoryType};
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::session::{IoBinding, Session};
use ort::value::Tensor;
use std::path::PathBuf;
use std::sync::Arc;

/// Shapes kept loaded: a crop that zooms in and out moves between neighbouring sizes.
const SHAPES_KEPT: usize = 4;

/// `n, 3, h, w`.
pub(crate) type Shape = [usize; 4];

/// One output of a run, as a flat row-major tensor.
pub(crate) struct Output<'a> {
    pub name: &'a str,
    pub shape: Vec<usize>,
    pub data: &'a [f32],
}

pub(crate) struct Network {
    pub entry: ModelEntry,
    pub profile: NumericProfile,
    device: DeviceKind,
    runtime: Arc<Runtime>,
    path: PathBuf,
    /// The input as the file declares it: a size, or a name for any size.
    declared: [Dimension; 4],
    /// Least recently used first.
    sessions: Vec<ShapedSession>,
}

struct ShapedSession {
    shape: Shape,
    session: Session,
    binding: IoBinding,
    input_name: String,
    input: Tensor<f32>,
}

impl Network {
    /// Checks the file, the profile and the device against each other; sessions are built when shapes come.
    pub fn load(store: &ModelStore, profile: &NumericProfile, device: &DeviceKind) -> Result<Self, ModelError> {
        check_profile(store, profile, device)?;
        let entry = store.entry(&profile.model)?.clone();
        let library = store.runtime_library()?;
        let bytes = store.read(&entry)?;
        let declared = onnx::picture_input(&bytes)
            .map_err(|detail| ModelError::inference("reading the input contract", &entry.name, detail))?;
        Ok(Self {
            path: store.path(&entry),
            runtime: runtime::load(&library)?,
            device: device.clone(),
            profile: profile.clone(),
            entry,
            declared,
            sessions: Vec::new(),
        })
    }

    /// Pictures a run takes: the profile's batch, unless the file fixes another.
    pub fn batch(&self) -> usize {
        self.declared[0].fixed().unwrap_or(self.profile.batch).max(1)
    }

    /// The input height and width the file fixes, where it does.
    pub fn fixed_size(&self) -> (Option<usize>, Option<usize>) {
        (self.declared[2].fixed(), self.declared[3].fixed())
    }

    pub fn warm(&mut self, shape: Shape) -> Result<(), ModelError> {
        self.session(shape).map(drop)
    }

    /// Fills the input of `shape` by `fill`, runs, and hands the outputs to `read`.
    pub fn run<T>(
        &mut self,
        shape: Shape,
        fill: impl FnOnce(&mut [f32]),
        read: impl FnOnce(&[Output<'_>]) -> Result<T, ModelError>,
    ) -> Result<T, ModelError> {
        let name = self.entry.name.clone();
        let failed = |error: ort::Error| ModelError::inference("inferring", &name, error);
        let shaped = self.session(shape)?;
        fill(shaped.input.extract_tensor_mut().1);
        // Binding anew hands the fresh values to devices that keep a copy of their own.
        shaped.binding.bind_input(shaped.input_name.as_str(), &shaped.input).map_err(failed)?;
        let values = shaped.session.run_binding(&shaped.binding).map_err(failed)?;
        let mut outputs = Vec::with_capacity(values.len());
        for (output, value) in values.iter() {
            let (dimensions, _) = value.try_extract_tensor::<f32>().map_err(failed)?;
            outputs.push((output, dimensions.iter().map(|&side| side as usize).collect::<Vec<_>>()));
        }
        let outputs: Vec<Output<'_>> = outputs
            .into_iter()
            .map(|(output, dimensions)| {
                let value = values.get(output).expect("the name came from these very outputs");
                let (_, data) = value.try_extract_tensor::<f32>().expect("extracted a moment ago");
                Output { name: output, shape: dimensions, data }
            })
            .collect();
        read(&outputs)
    }

    fn session(&mut self, shape: Shape) -> Result<&mut ShapedSession, ModelError> {
        if let Some(found) = self.sessions.iter().position(|shaped| shaped.shape == shape) {
            let recent = self.sessions.remove(found);
            self.sessions.push(recent);
        } else {
            self.fits(shape)?;
            if self.sessions.len() == SHAPES_KEPT {
                self.sessions.remove(0);
            }
            let built = self
                .build(shape)
                .map_err(|error| ModelError::inference("preparing a session", &self.entry.name, error))?;
            self.sessions.push(built);
        }
        Ok(self.sessions.last_mut().expect("one was pushed just now"))
    }

    fn fits(&self, shape: Shape) -> Result<(), ModelError> {
        let fits =
            self.declared.iter().zip(shape).all(|(declared, side)| declared.fixed().is_none_or(|fixed| fixed == side));
        if fits {
            return Ok(());
        }
        let detail = format!("its file takes only inputs of {:?}, not {shape:?}", self.declared);
        Err(ModelError::inference("preparing a session", &self.entry.name, detail))
    }

    fn build(&self, shape: Shape) -> Result<ShapedSession, ort::Error> {
        let mut session = self.options(shape)?.commit_from_file(&self.path)?;
        let input_name = session.inputs()[0].name().to_owned();
        let mut input = Tensor::<f32>::new(&Allocator::default(), shape)?;
        input.extract_tensor_mut().1.fill(0.0);
        let mut binding = session.create_binding()?;
        for output in session.outputs() {
            let host = MemoryInfo::new(AllocationDevice::CPU, 0, AllocatorType::Device, MemoryType::CPUOutput)?;
            binding.bind_output_to_device(output.name(), &host)?;
        }
        binding.bind_input(input_name.as_str(), &input)?;
        // The first run lets the runtime allocate what it will reuse.
        drop(session.run_binding(&binding)?);
        Ok(ShapedSession { shape, session, binding, input_name, input })
    }

    fn options(&self, shape: Shape) -> Result<SessionBuilder, ort::Error> {
        let provider = device::execution_provider(&self.device, self.profile.provider, self.profile.precision);
        let mut builder = Session::builder(&self.runtime.environment)?
            .with_optimization_level(GraphOptimizationLevel::All)?
            .with_intra_threads(self.device.threads().max(1))?
            .with_inter_threads(1)?
            .with_intra_op_spinning(false)?
            .with_inter_op_spinning(false)?
            .with_deterministic_compute(true)?
            .with_execution_providers([provider])?;
        for (declared, side) in self.declared.iter().zip(shape) {
            if let Dimension::Named(name) = declared {
                builder = builder.with_dimension_override(name, side as i64)?;
            }
        }
        Ok(builder)
    }
}

/// Checks that `device` gives the results of `profile`: with this model file and ONNX Runtime, on this hardware, with
/// what it offers. Reads no model.
///
/// # Errors
/// [`ModelError::ProfileMismatch`] or [`ModelError::NotOffered`] where it does not; the model or ONNX Runtime is
/// missing.
pub fn check_profile(store: &ModelStore, profile: &NumericProfile, device: &DeviceKind) -> Result<(), ModelError> {
    let library = store.runtime_library()?;
    check_ground(profile, store.entry(&profile.model)?, &runtime::version(&library), device)?;
    let folder = library.parent().expect("a library lies in a folder");
    device::require(device, profile.provider, profile.precision, folder)
}

/// A profile names the file, the runtime and the hardware it was chosen for; anything else would give other bytes.
fn check_ground(
    profile: &NumericProfile,
    entry: &ModelEntry,
    runtime_version: &str,
    device: &DeviceKind,
) -> Result<(), ModelError> {
    let hardware = device.name();
    let threads = device.threads().to_string();
    let pairs = [
        ("model SHA-256", profile.model_sha256.as_str(), entry.sha256.as_str()),
        ("ONNX Runtime version", &profile.runtime_version, runtime_version),
        ("device", &profile.device, &hardware),
        ("threads", &profile.threads.to_string(), &threads),
    ];
    match pairs.into_iter().find(|(_, wanted, here)| wanted != here) {
        None => Ok(()),
        Some((what, wanted, here)) => Err(ModelError::ProfileMismatch {
            model: entry.name.clone(),
            detail: format!("it was fixed for {what} {wanted}, here is {here}"),
        }),
    }
}
