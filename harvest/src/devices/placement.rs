//! Assigns processors to devices.

use std::fs;
use std::path::Path;

use super::processors::Processors;

/// Returns the processors for each device's process. For a GPU, these are the processors of its socket, shared with the
/// other GPUs there, so that memory is local. `None` if the processors are unknown.
pub(super) fn placement(devices: &[String]) -> Vec<Option<Processors>> {
    placement_in(devices, Processors::allowed().as_ref(), &|device| near(device, Path::new("/")))
}

fn placement_in(
    devices: &[String],
    allowed: Option<&Processors>,
    near: &dyn Fn(&str) -> Option<Processors>,
) -> Vec<Option<Processors>> {
    let Some(allowed) = allowed else { return vec![None; devices.len()] };
    let homes: Vec<Processors> = devices
        .iter()
        .map(|device| near(device).and_then(|near| near.both(allowed)).unwrap_or_else(|| allowed.clone()))
        .collect();
    let place = |(index, home): (usize, &Processors)| {
        let before = homes[..index].iter().filter(|other| *other == home).count();
        let all = homes.iter().filter(|other| *other == home).count();
        Some(home.share(before, all))
    };
    homes.iter().enumerate().map(place).collect()
}

/// Returns the processors of a GPU's socket, from the driver's and the kernel's files below `root`. GPUs are numbered
/// in bus order, as with `CUDA_DEVICE_ORDER=PCI_BUS_ID`.
fn near(device: &str, root: &Path) -> Option<Processors> {
    let index: usize = match device {
        "cuda" => 0,
        _ => device.strip_prefix("cuda:")?.parse().ok()?,
    };
    let mut buses: Vec<String> = fs::read_dir(root.join("proc/driver/nvidia/gpus"))
        .ok()?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    buses.sort();
    let bus = buses.get(index)?.to_lowercase();
    let path = root.join("sys/bus/pci/devices").join(bus).join("local_cpulist");
    fs::read_to_string(path).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(placed: &[Option<Processors>]) -> Vec<String> {
        placed.iter().map(|place| place.as_ref().map_or_else(|| "any".to_owned(), Processors::to_string)).collect()
    }

    #[test]
    fn devices_share_the_processors_of_their_socket() {
        let machine = tempfile::tempdir().unwrap();
        let buses = ["0000:17:00.0", "0000:65:00.0", "0000:CA:00.0", "0000:E3:00.0"];
        for (index, bus) in buses.iter().enumerate() {
            fs::create_dir_all(machine.path().join("proc/driver/nvidia/gpus").join(bus)).unwrap();
            let pci = machine.path().join("sys/bus/pci/devices").join(bus.to_lowercase());
            fs::create_dir_all(&pci).unwrap();
            fs::write(pci.join("local_cpulist"), if index < 2 { "0-7,16-23\n" } else { "8-15,24-31\n" }).unwrap();
        }
        let near = |device: &str| near(device, machine.path());
        let devices: Vec<String> = (0..4).map(|index| format!("cuda:{index}")).collect();
        let all: Processors = "0-31".parse().unwrap();
        let placed = words(&placement_in(&devices, Some(&all), &near));
        assert_eq!(placed, ["0-7", "16-23", "8-15", "24-31"]);
        // A container with part of the machine.
        let some: Processors = "0-3".parse().unwrap();
        assert_eq!(words(&placement_in(&devices[..2], Some(&some), &near)), ["0-1", "2-3"]);
        assert_eq!(words(&placement_in(&devices, None, &near)), ["any"; 4]);
        // A GPU that the driver does not list.
        assert_eq!(words(&placement_in(&["cuda:9".to_owned()], Some(&some), &near)), ["0-3"]);
    }

    #[test]
    fn processes_on_processors_share_them_out() {
        let all: Processors = "0-3".parse().unwrap();
        let devices = ["cpu".to_owned(), "cpu".to_owned()];
        assert_eq!(words(&placement_in(&devices, Some(&all), &|_| None)), ["0-1", "2-3"]);
    }
}
