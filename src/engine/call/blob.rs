//! A pool of byte strings of many sizes: the texts that a call must keep between datagrams.
//!
//! One zeroed block of address space, handed out in size classes with a free list each: contiguous
//! (a retransmission is one copy), O(1), and never returned to the allocator. The kernel commits
//! pages only when they are first written, so an unused pool costs nothing.

/// Sizes of the classes in bytes; all multiples of the 64-byte unit.
const CLASSES: [u32; 21] = [
    64, 128, 192, 256, 320, 384, 448, 512, 576, 640, 704, 768, 896, 1024, 1536, 2048, 4096, 8192,
    16384, 32768, 65536,
];
const UNIT: usize = 64;
const NONE: u32 = u32::MAX;

/// A byte string in a [`BlobPool`]. Not `Clone`: it must be freed exactly once.
#[derive(Debug)]
pub struct Blob {
    /// Offset in units of 64 bytes; `NONE` for the empty string.
    unit: u32,
    len: u32,
}

impl Default for Blob {
    fn default() -> Self {
        Self { unit: NONE, len: 0 }
    }
}

impl Blob {
    /// `true` if it holds no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Takes the string out, leaving an empty one.
    pub fn take(&mut self) -> Blob {
        std::mem::take(self)
    }
}

/// A pool of byte strings in one zeroed block of address space.
pub struct BlobPool {
    bytes: Vec<u8>,
    /// First never-used unit.
    fresh: u32,
    /// Free strings of each class, the last freed one last. Links inside of the strings would touch
    /// memory that went cold while a call lingered.
    free: [Vec<u32>; CLASSES.len()],
    /// Strings handed out and not yet freed.
    live: usize,
}

impl BlobPool {
    /// A pool of `capacity_bytes` of address space.
    pub fn new(capacity_bytes: usize) -> Self {
        let capacity = capacity_bytes.min((NONE as usize - 1) * UNIT);
        // Room for all strings that the pool can hold: address space that is touched as it is used.
        let free = CLASSES.map(|size| Vec::with_capacity(capacity / size as usize));
        Self { bytes: vec![0; capacity], fresh: 0, free, live: 0 }
    }

    /// Strings in use.
    pub fn live(&self) -> usize {
        self.live
    }

    /// Bytes ever used: the committed part of the pool's address space.
    pub fn committed_bytes(&self) -> usize {
        self.fresh as usize * UNIT
    }

    /// Stores a copy of `content`; `None` if the pool is exhausted or `content` exceeds 64 KiB.
    pub fn store(&mut self, content: &[u8]) -> Option<Blob> {
        if content.is_empty() {
            return Some(Blob::default());
        }
        let class = class_of(content.len())?;
        let unit = self.allocate(class)?;
        let start = unit as usize * UNIT;
        self.bytes[start..start + content.len()].copy_from_slice(content);
        self.live += 1;
        Some(Blob { unit, len: content.len() as u32 })
    }

    /// Replaces the content of `blob`, in place where its class allows. On `false` (pool
    /// exhausted) the blob is empty.
    pub fn replace(&mut self, blob: &mut Blob, content: &[u8]) -> bool {
        if !blob.is_empty()
            && !content.is_empty()
            && class_of(content.len()) == class_of(blob.len as usize)
        {
            let start = blob.unit as usize * UNIT;
            self.bytes[start..start + content.len()].copy_from_slice(content);
            blob.len = content.len() as u32;
            return true;
        }
        self.free(blob);
        match self.store(content) {
            Some(stored) => {
                *blob = stored;
                true
            }
            None => false,
        }
    }

    /// The bytes of `blob`.
    pub fn bytes(&self, blob: &Blob) -> &[u8] {
        if blob.is_empty() {
            return &[];
        }
        let start = blob.unit as usize * UNIT;
        &self.bytes[start..start + blob.len as usize]
    }

    /// Returns the space of `blob` to the pool and leaves it empty.
    pub fn free(&mut self, blob: &mut Blob) {
        if blob.is_empty() {
            return;
        }
        let old = blob.take();
        // A stored length always has a class.
        let Some(class) = class_of(old.len as usize) else { return };
        self.free[class].push(old.unit);
        self.live -= 1;
    }

    fn allocate(&mut self, class: usize) -> Option<u32> {
        if let Some(unit) = self.free[class].pop() {
            return Some(unit);
        }
        let units = CLASSES[class] / UNIT as u32;
        let end = (self.fresh + units) as usize * UNIT;
        if end > self.bytes.len() {
            return None;
        }
        let unit = self.fresh;
        self.fresh += units;
        Some(unit)
    }
}

/// Classes of strings of up to a kilobyte, by their number of units.
const CLASSES_OF_UNITS: [u8; 1024 / UNIT + 1] = {
    let mut classes = [0; 1024 / UNIT + 1];
    let mut units = 1;
    while units < classes.len() {
        let longer = CLASSES[classes[units - 1] as usize] < (units * UNIT) as u32;
        classes[units] = classes[units - 1] + longer as u8;
        units += 1;
    }
    classes
};

#[inline]
fn class_of(len: usize) -> Option<usize> {
    match CLASSES_OF_UNITS.get(len.div_ceil(UNIT)) {
        Some(&class) => Some(usize::from(class)),
        None => CLASSES.iter().position(|&size| len <= size as usize),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Every string reads back as stored, whatever was freed and replaced in between.
        #[test]
        fn strings_never_overlap(ops in proptest::collection::vec((0..3u8, 0..20usize, 0..3000usize), 1..200)) {
            let mut pool = BlobPool::new(1 << 20);
            let mut model: Vec<(Blob, Vec<u8>)> = Vec::new();
            for (step, (op, index, len)) in ops.into_iter().enumerate() {
                let content = vec![step as u8; len];
                match op {
                    0 => if let Some(blob) = pool.store(&content) { model.push((blob, content)); },
                    1 if !model.is_empty() => {
                        let at = index % model.len();
                        let (mut blob, _) = model.swap_remove(at);
                        pool.free(&mut blob);
                        prop_assert!(pool.bytes(&blob).is_empty());
                    }
                    _ if !model.is_empty() => {
                        let at = index % model.len();
                        let (blob, held) = &mut model[at];
                        let stored = pool.replace(blob, &content);
                        *held = if stored { content } else { Vec::new() };
                    }
                    _ => {}
                }
                for (blob, held) in &model {
                    prop_assert_eq!(pool.bytes(blob), &held[..]);
                }
            }
            let nonempty = model.iter().filter(|(_, held)| !held.is_empty()).count();
            prop_assert_eq!(pool.live(), nonempty);
        }
    }

    #[test]
    fn every_length_has_the_least_class_that_holds_it() {
        for len in 0..70_000 {
            let class = CLASSES.iter().position(|&size| len <= size as usize);
            assert_eq!(class_of(len), class, "{len}");
        }
    }

    #[test]
    fn nothing_in_place_of_something_gives_the_space_back() {
        let mut pool = BlobPool::new(4096);
        let mut blob = pool.store(b"short").unwrap();
        assert!(pool.replace(&mut blob, b""));
        assert!(blob.is_empty());
        assert_eq!(pool.live(), 0);
    }

    #[test]
    fn exhaustion_is_an_answer_and_space_comes_back() {
        let mut pool = BlobPool::new(4096);
        let mut blobs: Vec<Blob> = std::iter::from_fn(|| pool.store(&[7; 1000])).collect();
        assert_eq!(blobs.len(), 4);
        assert!(pool.store(&[0; 70_000]).is_none());
        blobs.iter_mut().for_each(|blob| pool.free(blob));
        assert_eq!(pool.live(), 0);
        assert!(pool.store(&[7; 1000]).is_some());
    }
}
