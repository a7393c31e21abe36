//! Bytes that are known by their position: a lost, doubled, swapped or foreign page shows, wherever it is.

#[cfg(unix)]
use std::path::Path;
use std::sync::LazyLock;

const PAGE: usize = 4096;
const PAGES: usize = 256;

/// What pages are made of.
static NOISE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..PAGE * PAGES / 8).flat_map(|_| next()).collect()
});

/// The `len` bytes from position `at` on.
pub(crate) fn bytes(at: u64, len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len + PAGE);
    let (first, skip) = (at / PAGE as u64, usize::try_from(at % PAGE as u64).unwrap());
    let mut page = first;
    while bytes.len() < skip + len {
        let noise = usize::try_from(page).unwrap() % PAGES * PAGE;
        // Each page begins with its number, and no two neighbours have the same noise.
        bytes.extend_from_slice(&page.to_le_bytes());
        bytes.extend_from_slice(&NOISE[noise + 8..noise + PAGE]);
        page += 1;
    }
    bytes.truncate(skip + len);
    bytes.drain(..skip);
    bytes
}

/// A file of `len` bytes.
#[cfg(unix)]
pub(crate) fn write(path: &Path, len: u64) {
    use std::io::Write as _;
    let mut file = std::fs::File::create(path).unwrap();
    let mut at = 0;
    while at < len {
        let part = (len - at).min(1 << 20);
        file.write_all(&bytes(at, usize::try_from(part).unwrap())).unwrap();
        at += part;
    }
}

/// Compares what arrives, piece by piece, with what has to.
#[derive(Debug, Default)]
pub(crate) struct Check {
    at: u64,
}

impl Check {
    /// The next bytes that arrived.
    #[track_caller]
    pub(crate) fn feed(&mut self, arrived: &[u8]) {
        for piece in arrived.chunks(1 << 18) {
            let expected = bytes(self.at, piece.len());
            if piece != expected {
                let wrong = piece.iter().zip(&expected).position(|(a, b)| a != b).unwrap();
                panic!("the byte at {} is not the one that was sent", self.at + wrong as u64);
            }
            self.at += piece.len() as u64;
        }
    }

    /// How many have arrived.
    pub(crate) fn len(&self) -> u64 {
        self.at
    }
}

/// Checks a whole file.
#[cfg(unix)]
#[track_caller]
pub(crate) fn check_file(path: &Path, len: u64) {
    use std::io::Read as _;
    let mut file = std::fs::File::open(path).unwrap();
    let mut check = Check::default();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = file.read(&mut buffer).unwrap();
        if read == 0 {
            break;
        }
        check.feed(&buffer[..read]);
    }
    assert_eq!(check.len(), len, "{}", path.display());
}

#[test]
fn a_changed_byte_and_a_swapped_page_are_seen() {
    let whole = bytes(0, 3 << 20);
    assert_eq!(bytes(5000, 10_000), whole[5000..15_000]);
    for (from, to) in [(0, 1 << 20), (4096, 8192)] {
        let mut wrong = whole.clone();
        wrong.copy_within(from..from + PAGE, to);
        assert!(std::panic::catch_unwind(|| Check::default().feed(&wrong)).is_err());
    }
    let mut check = Check::default();
    whole.chunks(777).for_each(|piece| check.feed(piece));
    assert_eq!(check.len(), 3 << 20);
}
