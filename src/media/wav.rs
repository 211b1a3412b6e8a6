//! WAV files: PCM of 8 and 16 bits, mu-law and A-law.
//!
//! The file is read in place. A size in a header is never trusted: what the file lacks is noted.

use core::fmt;

use super::codec::g711::Law;
use super::codec::resample::RATES;

/// Audio in a file.
#[derive(Debug)]
pub struct Wav<'f> {
    data: &'f [u8],
    coding: Coding,
    channels: usize,
    /// Samples in a second; one of [`RATES`].
    pub rate: u32,
    /// Findings that a user should know of.
    pub notes: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    /// Unsigned, 128 is silence.
    Pcm8,
    /// Signed, little-endian.
    Pcm16,
    Law(Law),
}

/// The reason why a WAV file cannot be used, with what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WavFault(String);

impl fmt::Display for WavFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl core::error::Error for WavFault {}

const CONVERT: &str =
    "convert it, for example: sox in.wav -r 8000 -c 1 -b 16 -e signed-integer out.wav";

/// Tells whether a file is a WAV file by its first bytes.
pub fn is_wav(file: &[u8]) -> bool {
    file.len() >= 12 && file.starts_with(b"RIFF") && &file[8..12] == b"WAVE"
}

impl<'f> Wav<'f> {
    /// Reads a file.
    ///
    /// # Errors
    /// A file without format or audio, or with audio in a form that is not read.
    pub fn read(file: &'f [u8]) -> Result<Self, WavFault> {
        if !is_wav(file) {
            return Err(WavFault("it does not begin as a WAV file does".to_owned()));
        }
        let mut notes = Vec::new();
        let mut format = None;
        let mut rest = &file[12..];
        while let Some((head, behind)) = rest.split_at_checked(8) {
            let said = le32(&head[4..]) as usize;
            let body = &behind[..said.min(behind.len())];
            match &head[..4] {
                b"fmt " => format = Some(Format::read(body)?),
                b"data" => {
                    let format = format
                        .ok_or_else(|| WavFault("its audio comes before its format".to_owned()))?;
                    // A writer to a pipe does not know the size, and says the largest one, or 0.
                    if said > body.len() && said < 0x7fff_f000 {
                        notes.push(format!(
                            "it says that it has {said} bytes of audio, and has {}: they are played",
                            body.len()
                        ));
                    }
                    let is_unknown = said == 0 && !behind.is_empty();
                    return Self::new(format, if is_unknown { behind } else { body }, notes);
                }
                _ => {}
            }
            // Chunks begin at even offsets.
            rest = behind.get(said.saturating_add(said % 2)..).unwrap_or_default();
        }
        Err(WavFault("it has no audio (no chunk \"data\"): it was cut off".to_owned()))
    }

    fn new(format: Format, data: &'f [u8], mut notes: Vec<String>) -> Result<Self, WavFault> {
        let Format { coding, channels, rate } = format;
        let wav = Self { data, coding, channels, rate, notes: Vec::new() };
        if wav.is_empty() {
            return Err(WavFault("it has no audio: its chunk \"data\" is empty".to_owned()));
        }
        if channels > 1 {
            notes.push(format!("it has {channels} channels: they are mixed"));
        }
        Ok(Self { notes, ..wav })
    }

    /// Number of samples.
    pub fn len(&self) -> usize {
        self.data.len() / (self.channels * self.coding.sample_bytes())
    }

    /// Tells whether the file has no sample. No file that was read is so.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The samples. Channels are mixed: in the recording of a call each side may have its own.
    pub fn samples(&self) -> Vec<i16> {
        let bytes = self.coding.sample_bytes();
        let mixed = |frame: &[u8]| {
            let channels = frame.chunks_exact(bytes).map(|sample| self.coding.sample(sample));
            let sum: i64 = channels.map(i64::from).sum();
            (sum / self.channels as i64) as i16
        };
        self.data.chunks_exact(self.channels * bytes).map(mixed).collect()
    }

    /// The audio as it stands in the file, if these are the payloads of G.711 by `law`.
    pub fn coded_by(&self, law: Law) -> Option<&'f [u8]> {
        let is_coded = self.coding == Coding::Law(law) && self.channels == 1 && self.rate == 8000;
        is_coded.then_some(self.data)
    }
}

impl Coding {
    fn sample_bytes(self) -> usize {
        match self {
            Self::Pcm16 => 2,
            Self::Pcm8 | Self::Law(_) => 1,
        }
    }

    /// The sample in these bytes.
    fn sample(self, bytes: &[u8]) -> i16 {
        match self {
            Self::Pcm8 => (i16::from(bytes[0]) - 128) << 8,
            Self::Pcm16 => i16::from_le_bytes([bytes[0], bytes[1]]),
            Self::Law(law) => law.decode(bytes[0]),
        }
    }
}

/// The contents of the chunk "fmt ".
#[derive(Clone, Copy)]
struct Format {
    coding: Coding,
    channels: usize,
    rate: u32,
}

impl Format {
    fn read(body: &[u8]) -> Result<Self, WavFault> {
        /// The real tag is in the extension: the first two bytes of a GUID.
        const EXTENSIBLE: u16 = 0xfffe;
        if body.len() < 16 {
            return Err(WavFault(format!("its format has {} bytes instead of 16", body.len())));
        }
        let (channels, rate, bits) = (le16(&body[2..]), le32(&body[4..]), le16(&body[14..]));
        let tag = match le16(body) {
            EXTENSIBLE if body.len() >= 26 => le16(&body[24..]),
            tag => tag,
        };
        let coding = match (tag, bits) {
            (1, 8) => Coding::Pcm8,
            (1, 16) => Coding::Pcm16,
            (6, 8) => Coding::Law(Law::A),
            (7, 8) => Coding::Law(Law::Mu),
            _ => {
                let name = match tag {
                    1 => "PCM",
                    3 => "floating point",
                    6 => "A-law",
                    7 => "mu-law",
                    0x55 => "MP3",
                    _ => "an unknown format",
                };
                return Err(WavFault(format!(
                    "its audio is {name} (tag {tag}) of {bits} bits; PCM of 8 or 16 bits, mu-law \
                     and A-law can be played: {CONVERT}"
                )));
            }
        };
        if !RATES.contains(&rate) {
            let rates = RATES.map(|rate| rate.to_string()).join(", ");
            return Err(WavFault(format!(
                "it has {rate} samples in a second, which is none of {rates}: {CONVERT}"
            )));
        }
        if channels == 0 {
            return Err(WavFault(format!("it says that it has no channel: {CONVERT}")));
        }
        Ok(Self { coding, channels: channels.into(), rate })
    }
}

fn le16(bytes: &[u8]) -> u16 {
    u16::from_le_bytes([bytes[0], bytes[1]])
}

fn le32(bytes: &[u8]) -> u32 {
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A WAV file of that format.
    pub(in crate::media) fn file(
        tag: u16,
        channels: u16,
        rate: u32,
        bits: u16,
        data: &[u8],
    ) -> Vec<u8> {
        let block = channels * bits.div_ceil(8);
        let mut file = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0".to_vec();
        file.extend([tag.to_le_bytes(), channels.to_le_bytes()].concat());
        file.extend([rate.to_le_bytes(), (rate * u32::from(block)).to_le_bytes()].concat());
        file.extend([block.to_le_bytes(), bits.to_le_bytes()].concat());
        // Programs put what they like between format and audio; its odd byte is padded.
        file.extend(b"LIST\x03\0\0\0abc\0data");
        file.extend((data.len() as u32).to_le_bytes());
        file.extend(data);
        file
    }

    #[test]
    fn every_form_of_audio_is_read() {
        let samples = |file: &[u8]| Wav::read(file).map(|wav| (wav.rate, wav.samples())).unwrap();
        assert_eq!(samples(&file(1, 1, 8000, 8, &[0, 128, 255])), (8000, vec![-32768, 0, 32512]));
        assert_eq!(samples(&file(1, 1, 48_000, 16, &[1, 0, 0, 0x80])), (48_000, vec![1, -32768]));
        assert_eq!(samples(&file(7, 1, 8000, 8, &[0xff, 0x80])), (8000, vec![0, 32124]));
        assert_eq!(samples(&file(6, 1, 16_000, 8, &[0xd5])), (16_000, vec![8]));
        let a_law = file(6, 1, 8000, 8, &[0xd5, 0x55]);
        assert_eq!(Wav::read(&a_law).unwrap().coded_by(Law::A), Some(&[0xd5, 0x55][..]));
        assert_eq!(Wav::read(&a_law).unwrap().coded_by(Law::Mu), None);
    }

    #[test]
    fn several_channels_are_mixed_with_a_note() {
        // The last frame is cut off.
        let stereo = file(1, 2, 8000, 16, &[1, 0, 3, 0, 0xff, 0x7f, 0xff, 0x7f, 9]);
        let wav = Wav::read(&stereo).unwrap();
        assert_eq!(wav.samples(), [2, 32767]);
        assert_eq!(wav.notes, ["it has 2 channels: they are mixed"]);
        let stereo = file(1, 2, 8000, 8, &[0x40, 0x60]);
        assert_eq!(Wav::read(&stereo).unwrap().samples(), [(0x50 - 128) << 8]);
    }

    #[test]
    fn a_file_that_lies_about_its_size_is_played_as_far_as_it_goes() {
        let mut lying = file(1, 1, 8000, 8, &[128; 10]);
        let at = lying.len() - 14;
        lying[at..at + 4].copy_from_slice(&1_000_000u32.to_le_bytes());
        let wav = Wav::read(&lying).unwrap();
        assert_eq!(wav.len(), 10);
        let note = "it says that it has 1000000 bytes of audio, and has 10: they are played";
        assert_eq!(wav.notes, [note]);
        // Written to a pipe.
        for unknown in [0, u32::MAX] {
            lying[at..at + 4].copy_from_slice(&unknown.to_le_bytes());
            let wav = Wav::read(&lying).unwrap();
            assert_eq!((wav.len(), wav.notes.len()), (10, 0));
        }
    }

    #[test]
    fn a_file_that_cannot_be_played_says_why_and_what_to_do() {
        let fault = |file: &[u8]| Wav::read(file).unwrap_err().to_string();
        let float = fault(&file(3, 1, 8000, 32, &[0; 8]));
        assert!(float.starts_with("its audio is floating point (tag 3) of 32 bits; "), "{float}");
        assert!(float.contains("sox in.wav"), "{float}");
        assert!(fault(&file(1, 1, 7, 8, &[0])).contains("7 samples in a second, which is none of"));
        assert!(fault(&file(1, 0, 8000, 8, &[0])).contains("no channel"));
        assert!(fault(&file(1, 1, 8000, 16, &[0])).contains("is empty"));
        assert!(fault(&file(1, 1, 8000, 16, &[])[..40]).contains("no chunk \"data\""));
        assert!(fault(b"RIFFxxxxWAVEdata\0\0\0\0").contains("before its format"));
        assert!(fault(b"RIFFxxxxWAVEfmt \x02\0\0\0\0\0").contains("2 bytes instead of 16"));
        assert!(fault(b"nothing").contains("does not begin"));
    }
}
