//! RADV as a compiler: WGSL to SPIR-V by naga, SPIR-V to a pipeline that is never run.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_char};

use ash::vk;
use minke::plan::Step;
use naga::back::{self, spv};
use naga::proc::BoundsCheckPolicies;
use naga::valid::{Capabilities, ValidationFlags, Validator};

/// Where Debian and others install RADV.
const DRIVERS: [&str; 2] =
    ["/usr/share/vulkan/icd.d/radeon_icd.x86_64.json", "/usr/share/vulkan/icd.d/radeon_icd.json"];

/// An open device of a GPU that is not there.
pub struct Compiler {
    /// Name and version of the driver.
    pub driver: String,
    device: ash::Device,
    executables: ash::khr::pipeline_executable_properties::Device,
    _instance: ash::Instance,
    _entry: ash::Entry,
}

fn text(chars: &[c_char]) -> String {
    // SAFETY: Vulkan ends its texts with a zero, within the array.
    unsafe { CStr::from_ptr(chars.as_ptr()) }.to_string_lossy().into_owned()
}

/// The step's module as wgpu would make it, without bounds checks.
fn spirv(step: &Step) -> Vec<u32> {
    let (id, text) = (step.shader.id, step.shader.text());
    let module = naga::front::wgsl::parse_str(&text).unwrap_or_else(|e| panic!("{id}: {}", e.emit_to_string(&text)));
    let info = Validator::new(ValidationFlags::all(), Capabilities::all()).validate(&module);
    let info = info.unwrap_or_else(|e| panic!("{id}: {}", e.emit_to_string(&text)));
    let mut constants = back::PipelineConstants::default();
    let known = |name: &str| module.overrides.iter().any(|(_, o)| o.name.as_deref() == Some(name));
    constants.extend(step.constants.iter().filter(|(n, _)| known(n)).map(|&(n, v)| (n.to_owned(), v)));
    let entry = Some((naga::ShaderStage::Compute, "main"));
    let (module, info) = back::pipeline_constants::process_overrides(&module, &info, entry, &constants)
        .unwrap_or_else(|e| panic!("{id}: {e}"));
    let mut options = spv::Options {
        lang_version: (1, 6),
        bounds_check_policies: BoundsCheckPolicies::default(),
        zero_initialize_workgroup_memory: spv::ZeroInitializeWorkgroupMemoryMode::None,
        force_loop_bounding: false,
        emit_int_div_checks: false,
        ..Default::default()
    };
    options.flags.remove(spv::WriterFlags::DEBUG);
    let pipeline = spv::PipelineOptions { shader_stage: naga::ShaderStage::Compute, entry_point: "main".into() };
    spv::write_vec(&module, &info, &options, Some(&pipeline)).unwrap_or_else(|e| panic!("{id}: {e}"))
}

impl Compiler {
    /// Opens RADV for a family of GPUs.
    ///
    /// # Errors
    /// What is missing.
    pub fn open(family: &str) -> Result<Self, String> {
        let driver = DRIVERS.into_iter().find(|path| std::path::Path::new(path).exists());
        let driver = driver.ok_or("it is not installed")?;
        // SAFETY: the only test of this process runs on this thread; no other reads the environment.
        unsafe {
            std::env::set_var("VK_DRIVER_FILES", driver);
            std::env::set_var("RADV_FORCE_FAMILY", family);
        }
        // SAFETY: calls follow Vulkan's rules: all that is created is of one instance and device, which outlive it.
        unsafe {
            let entry = ash::Entry::load().map_err(|e| e.to_string())?;
            let app = vk::ApplicationInfo::default().api_version(vk::API_VERSION_1_3);
            let info = vk::InstanceCreateInfo::default().application_info(&app);
            let instance = entry.create_instance(&info, None).map_err(|e| e.to_string())?;
            let all = instance.enumerate_physical_devices().map_err(|e| e.to_string())?;
            let gpu = *all.first().ok_or("it has no device")?;
            let mut about = vk::PhysicalDeviceDriverProperties::default();
            let mut properties = vk::PhysicalDeviceProperties2::default().push_next(&mut about);
            instance.get_physical_device_properties2(gpu, &mut properties);
            let driver = format!("{} {}", text(&about.driver_name), text(&about.driver_info));

            let extensions = [ash::khr::pipeline_executable_properties::NAME.as_ptr()];
            let mut told =
                vk::PhysicalDevicePipelineExecutablePropertiesFeaturesKHR::default().pipeline_executable_info(true);
            let mut f11 = vk::PhysicalDeviceVulkan11Features::default();
            let mut f12 = vk::PhysicalDeviceVulkan12Features::default();
            let mut f13 = vk::PhysicalDeviceVulkan13Features::default();
            let mut has =
                vk::PhysicalDeviceFeatures2::default().push_next(&mut f11).push_next(&mut f12).push_next(&mut f13);
            instance.get_physical_device_features2(gpu, &mut has);
            has.features.robust_buffer_access = 0;
            let mut on = has.push_next(&mut told);
            let queue = [vk::DeviceQueueCreateInfo::default().queue_family_index(0).queue_priorities(&[1.0])];
            let info = vk::DeviceCreateInfo::default()
                .queue_create_infos(&queue)
                .enabled_extension_names(&extensions)
                .push_next(&mut on);
            let device = instance.create_device(gpu, &info, None).map_err(|e| e.to_string())?;
            let executables = ash::khr::pipeline_executable_properties::Device::new(&instance, &device);
            Ok(Self { driver, device, executables, _instance: instance, _entry: entry })
        }
    }

    /// The driver's figures of a step's pipeline, and its listing.
    pub fn compile(&self, step: &Step) -> (BTreeMap<String, u64>, String) {
        let device = &self.device;
        let words = spirv(step);
        let binding = |slot, kind| {
            let binding =
                vk::DescriptorSetLayoutBinding::default().binding(slot).descriptor_type(kind).descriptor_count(1);
            binding.stage_flags(vk::ShaderStageFlags::COMPUTE)
        };
        let mut slots = vec![binding(0, vk::DescriptorType::UNIFORM_BUFFER)];
        slots.extend(step.bindings.iter().map(|b| binding(b.slot, vk::DescriptorType::STORAGE_BUFFER)));
        // SAFETY: as above.
        unsafe {
            let module = vk::ShaderModuleCreateInfo::default().code(&words);
            let module = device.create_shader_module(&module, None).expect("a module");
            let set = vk::DescriptorSetLayoutCreateInfo::default().bindings(&slots);
            let set = [device.create_descriptor_set_layout(&set, None).expect("a set")];
            let layout = vk::PipelineLayoutCreateInfo::default().set_layouts(&set);
            let layout = device.create_pipeline_layout(&layout, None).expect("a layout");
            let stage = vk::PipelineShaderStageCreateInfo::default()
                .stage(vk::ShaderStageFlags::COMPUTE)
                .module(module)
                .name(c"main");
            let flags = vk::PipelineCreateFlags::CAPTURE_STATISTICS_KHR
                | vk::PipelineCreateFlags::CAPTURE_INTERNAL_REPRESENTATIONS_KHR;
            let info = vk::ComputePipelineCreateInfo::default().stage(stage).layout(layout).flags(flags);
            let made = device.create_compute_pipelines(vk::PipelineCache::null(), &[info], None);
            let pipeline = made.unwrap_or_else(|(_, e)| panic!("{}: {e}", step.shader.id))[0];
            let told = self.told(pipeline);
            device.destroy_pipeline(pipeline, None);
            device.destroy_pipeline_layout(layout, None);
            device.destroy_descriptor_set_layout(set[0], None);
            device.destroy_shader_module(module, None);
            told
        }
    }

    /// # Safety
    /// The pipeline is of this device, and was made with both flags.
    unsafe fn told(&self, pipeline: vk::Pipeline) -> (BTreeMap<String, u64>, String) {
        let of = vk::PipelineExecutableInfoKHR::default().pipeline(pipeline).executable_index(0);
        // SAFETY: as the caller promises; the second call of the two that fill arrays has as much room as the one before asked for.
        unsafe {
            let figures = self.executables.get_pipeline_executable_statistics(&of).expect("statistics");
            let figure = |s: &vk::PipelineExecutableStatisticKHR<'_>| (text(&s.name), s.value.u64);
            let figures = figures.iter().map(figure).collect();
            let call = self.executables.fp().get_pipeline_executable_internal_representations_khr;
            let mut count = 0;
            let _ = call(self.device.handle(), &of, &mut count, std::ptr::null_mut());
            let mut all = vec![vk::PipelineExecutableInternalRepresentationKHR::default(); count as usize];
            let _ = call(self.device.handle(), &of, &mut count, all.as_mut_ptr());
            let mut texts: Vec<Vec<u8>> = all.iter().map(|r| vec![0; r.data_size]).collect();
            all.iter_mut().zip(&mut texts).for_each(|(r, text)| r.p_data = text.as_mut_ptr().cast());
            let _ = call(self.device.handle(), &of, &mut count, all.as_mut_ptr());
            let listing = all.iter().position(|r| text(&r.name) == "Assembly").expect("a listing");
            let listing = CString::from_vec_unchecked(texts[listing].split(|&c| c == 0).next().unwrap_or(&[]).to_vec());
            (figures, listing.to_string_lossy().into_owned())
        }
    }
}
