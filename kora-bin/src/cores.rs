//! The cores that the scheduler lets this process use (taskset, cpusets of containers and of systemd).

/// Number of cores in this process's affinity mask, at least 1.
pub fn allowed() -> usize {
    list().len().max(1)
}

/// A core of the affinity mask for each of `count` executors: the first ones in ascending order, and from the beginning again when there are
/// fewer than that.
pub fn for_executors(count: usize) -> Vec<usize> {
    list().into_iter().cycle().take(count).collect()
}

/// Numbers of the cores in the affinity mask.
fn list() -> Vec<usize> {
    // The kernel refuses a mask shorter than its own, so it grows until it fits: 1024 cores, 2048, ...
    let mut words = 16;
    while words <= 1 << 14 {
        let mut mask = vec![0u64; words];
        // SAFETY: the pointer and the length in bytes describe `mask`, which outlives the call; the kernel writes at
        // most that many bytes. A cpu_set_t is nothing but such a bit mask.
        let result = unsafe {
            libc::sched_getaffinity(0, words * size_of::<u64>(), mask.as_mut_ptr().cast::<libc::cpu_set_t>())
        };
        if result == 0 {
            return (0..words * 64).filter(|core| mask[core / 64] >> (core % 64) & 1 == 1).collect();
        }
        words *= 2;
    }
    Vec::new()
}

#[cfg(test)]
mod tests {
    #[test]
    fn executors_share_cores_when_there_are_more_of_them() {
        let (cores, shared) =
            (super::for_executors(super::allowed()), super::for_executors(super::allowed() * 2));
        assert!(cores.is_sorted());
        assert_eq!(shared, [&cores[..], &cores[..]].concat());
    }

    #[test]
    fn allowed_cores_are_those_of_the_affinity_mask_that_proc_shows() {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap().trim();
        let expected: usize = list
            .split(',')
            .map(|range| match range.split_once('-') {
                Some((first, last)) => last.parse::<usize>().unwrap() - first.parse::<usize>().unwrap() + 1,
                None => 1,
            })
            .sum();
        assert_eq!(super::allowed(), expected);
    }
}
