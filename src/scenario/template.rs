//! Message texts: literal runs and patch points.
//!
//! A `Template` keeps the text's constant bytes in one pool and a list of parts over it. Binding it
//! to an environment folds values that are constant for a run (addresses, service, pid) into the
//! literals, so that rendering a message is a few copies and a few numbers. `[len]` is patched
//! after the body.

use super::program::VariableRef;

/// A compiled message or action text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Template {
    /// All literal bytes, in order.
    pub pool: Vec<u8>,
    /// The pieces to emit, in order.
    pub parts: Vec<Part>,
    /// Index of the first part of the body (the parts before it end with the empty line).
    pub body_part: usize,
}

/// A piece of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Bytes `start..end` of the pool.
    Literal {
        /// First byte.
        start: u32,
        /// One past the last byte.
        end: u32,
    },
    /// A line that begins with a value that may be empty. The line disappears if it holds only such
    /// values and white space. Its parts, including the line end, are the next `parts`.
    OptionalLine {
        /// Number of the following parts that belong to the line.
        parts: u16,
    },
    /// A value.
    Field(Field),
}

/// A keyword that is filled in when a message is rendered. Numbers carry the `+n`/`-n` offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Field {
    /// `[service]`
    Service,
    /// `[remote_ip]`, in brackets when IPv6
    RemoteIp,
    /// `[remote_ip]` where SDP has an address (RFC 4566 section 9): never in brackets
    RemoteIpInSdp,
    /// `[remote_host]`
    RemoteHost,
    /// `[remote_port]`
    RemotePort(i64),
    /// `[local_ip]`, in brackets when IPv6
    LocalIp,
    /// `[local_ip]` or `[server_ip]` where SDP has an address: never in brackets
    LocalIpInSdp,
    /// `[local_ip_type]`: 4 or 6
    LocalIpType,
    /// `[local_port]`
    LocalPort(i64),
    /// `[server_ip]`
    ServerIp,
    /// `[transport]`
    Transport,
    /// `[media_ip]`
    MediaIp,
    /// `[media_ip_type]`
    MediaIpType,
    /// `[media_port]`: the first port of the run; where the scenario has media, the call's own
    MediaPort(i64),
    /// `[rtpstream_video_port]`, or `[media_port+2]` in an `m=video` line: the port behind audio
    /// and its RTCP
    VideoPort(i64),
    /// `[media_transport]`
    MediaTransport,
    /// `[audio_pt]`: payload type of the audio that an answer to the last offer chooses
    AudioPayloadType,
    /// `[audio_codec]`: its encoding and clock rate
    AudioCodec,
    /// `[audio_rtpmap]`: the value of its `rtpmap`
    AudioRtpMap,
    /// `[audio_fmtp]`: its format parameters
    AudioFmtp,
    /// `[audio_sdp]`: its whole section; the offset shifts the port
    AudioSdp(i64),
    /// `[audio_ssrc]`: the value of the `ssrc` attribute of the call's audio (RFC 5576)
    AudioSsrc,
    /// `[cryptokeyparams...]`: key and salt of SRTP (RFC 4568 section 6.1) in base64, either fresh
    /// or those of the last time.
    CryptoKey {
        /// Index of one of the call's four keys: audio 1 and 2, video 1 and 2.
        index: u8,
        /// True to repeat the last key.
        again: bool,
    },
    /// A keyword of DTLS, ICE or WebRTC
    Webrtc(WebrtcField),
    /// `[auto_media_port]`: base + 4 per call, modulo 10,000
    AutoMediaPort(i64),
    /// `[pid]`
    Pid,
    /// `[sipp_version]`
    SippVersion,
    /// `[users]`
    Users,
    /// `[userid]`
    UserId,
    /// `[call_id]`
    CallId,
    /// `[call_number]`
    CallNumber(i64),
    /// `[cseq]`
    Cseq(i64),
    /// `[branch]`; the offset shifts the message index
    Branch(i64),
    /// `[msg_index]`
    MsgIndex,
    /// `[clock_tick]`: milliseconds since the run began
    ClockTick(i64),
    /// `[timestamp]`: wall clock with date
    Timestamp,
    /// `[date]`: RFC 3261 section 20.17
    Date,
    /// `[dynamic_id]`
    DynamicId,
    /// `[peer_tag_param]`: `;tag=...` of the peer, or nothing
    PeerTagParam,
    /// `[next_url]`: the peer's Contact URI
    NextUrl,
    /// `[routes]`: a Route header from the stored route set
    Routes,
    /// `[last_Request_URI]`: the URI in the To of the last received message
    LastRequestUri,
    /// `[last_cseq_number]`
    LastCseqNumber(i64),
    /// `[last_message]`
    LastMessage,
    /// `[last_Header:]`: all lines of that header, with name; index into `Program::last_headers`
    LastHeader(u16),
    /// `[last_Header:value]` and similar keywords: a part of that header.
    LastHeaderPart(Box<LastHeaderPart>),
    /// `[$name]`
    Variable(VariableRef),
    /// `[fill text="..." variable=n]`: the text repeated to the variable's number of bytes
    Fill {
        /// The text to repeat.
        text: Box<[u8]>,
        /// The variable with the number of bytes.
        variable: VariableRef,
    },
    /// `[len]`: body bytes, right-aligned in five characters
    Len(i64),
    /// `[fieldN]`: a column of an injection file
    Injected(Box<Injected>),
    /// `[authentication]`: the answer to the challenge that the call keeps, as a header line
    Authentication(Box<Authentication>),
    /// `[tdmmap]`: the call's circuit
    Circuit,
}

/// A keyword of DTLS, ICE or WebRTC, whose value comes from the media of the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WebrtcField {
    /// `[dtls_fingerprint]`: fingerprint of our certificate (RFC 8122)
    Fingerprint,
    /// `[ice_ufrag]`: user fragment of the call (RFC 8839 section 5.4)
    IceUfrag,
    /// `[ice_pwd]`: its password
    IcePwd,
    /// `[webrtc_offer]`: a whole description that a browser can answer
    Offer,
    /// `[webrtc_answer]`: the whole answer to the offer in the last received message
    Answer,
}

/// Part that a keyword takes out of a header of the last received message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastHeaderPart {
    /// Index into `Program::last_headers`.
    pub header: u16,
    /// The part to take.
    pub part: HeaderPart,
}

/// A part of a header, as SIPp takes it from 3.7 on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderPart {
    /// `value`: the values of all lines, without the name.
    Value,
    /// `uri`: the URI of the first value, without parameters of the header.
    Uri,
    /// `param.name`: a parameter of the first value.
    Parameter(Box<str>),
}

impl HeaderPart {
    /// The part whose name in scenarios is `text`.
    pub(super) fn from_text(text: &str) -> Option<Self> {
        match text {
            "value" => Some(Self::Value),
            "uri" => Some(Self::Uri),
            _ => {
                let name = text.strip_prefix("param.").filter(|name| !name.is_empty())?;
                Some(Self::Parameter(name.into()))
            }
        }
    }
}

/// A column of an injection file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Injected {
    /// The file, by index.
    pub table: u16,
    /// The column, from 0.
    pub field: u16,
    /// The row.
    pub row: Row,
}

/// A row of an injection file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Row {
    /// The row that the call took.
    Own,
    /// A fixed row, from 0.
    Number(u64),
    /// The row whose number a text gives.
    Of(Template),
}

/// Value of `uri=` of credentials that stands for the Request-URI of the message that carries them
/// (RFC 7616 section 3.4). SIPp's digest URI is another one.
pub const REQUEST_URI: &[u8] = b"request";

/// Credentials; absent values come from the command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Authentication {
    /// `username=`
    pub username: Option<Template>,
    /// `password=`
    pub password: Option<Template>,
    /// `uri=`: the digest URI; see [`REQUEST_URI`]
    pub uri: Option<Template>,
    /// `aka_K=`: the key of a SIM
    pub aka_k: Option<Template>,
    /// `aka_OP=`: the variant of its operator
    pub aka_op: Option<Template>,
    /// `aka_AMF=`: the authentication management field
    pub aka_amf: Option<Template>,
}

impl Authentication {
    fn templates(&self) -> [&Option<Template>; 6] {
        [&self.username, &self.password, &self.uri, &self.aka_k, &self.aka_op, &self.aka_amf]
    }
}

impl Field {
    /// The texts inside the field.
    fn nested(&self) -> impl Iterator<Item = &Template> {
        let (row, parts) = match self {
            Self::Injected(injected) => match &injected.row {
                Row::Of(template) => (Some(template), None),
                Row::Own | Row::Number(_) => (None, None),
            },
            Self::Authentication(authentication) => (None, Some(authentication.templates())),
            _ => (None, None),
        };
        row.into_iter().chain(parts.into_iter().flatten().flatten())
    }

    /// The same field with its texts bound.
    fn bind(&self, constant: &dyn Fn(&Field) -> Option<Vec<u8>>) -> Self {
        let bind = |template: &Option<Template>| template.as_ref().map(|t| t.bind(constant));
        match self {
            Self::Injected(injected) => match &injected.row {
                Row::Of(template) => Self::Injected(Box::new(Injected {
                    row: Row::Of(template.bind(constant)),
                    ..**injected
                })),
                Row::Own | Row::Number(_) => self.clone(),
            },
            Self::Authentication(parts) => Self::Authentication(Box::new(Authentication {
                username: bind(&parts.username),
                password: bind(&parts.password),
                uri: bind(&parts.uri),
                aka_k: bind(&parts.aka_k),
                aka_op: bind(&parts.aka_op),
                aka_amf: bind(&parts.aka_amf),
            })),
            _ => self.clone(),
        }
    }

    /// Tells whether the value is taken from the audio that an answer to the last offer chooses.
    pub fn is_negotiated_audio(&self) -> bool {
        matches!(
            self,
            Self::AudioPayloadType
                | Self::AudioCodec
                | Self::AudioRtpMap
                | Self::AudioFmtp
                | Self::AudioSdp(_)
        )
    }

    /// Tells whether the value may be empty, so that a line of nothing else is left out.
    pub fn may_be_empty(&self) -> bool {
        matches!(
            self,
            Self::AudioFmtp
                | Self::Injected(_)
                | Self::LastHeader(_)
                | Self::LastHeaderPart(_)
                | Self::LastMessage
                | Self::LastRequestUri
                | Self::NextUrl
                | Self::PeerTagParam
                | Self::Routes
                | Self::Variable(_)
        )
    }
}

/// Builds a template part by part, merging neighbouring literals.
#[derive(Debug, Default)]
pub(super) struct Builder {
    template: Template,
    /// First part of the current line.
    line_start: usize,
    /// Size of the pool when the line began.
    line_pool: usize,
    line_optional: bool,
    /// Index at which a line begins: no literal of this index may be joined to the one before it.
    barrier: Option<usize>,
    len_fields: usize,
    authentication_fields: usize,
    in_body: bool,
}

impl Builder {
    pub(super) fn literal(&mut self, bytes: &[u8]) {
        push_literal(&mut self.template, bytes, self.barrier);
    }

    /// Begins a line: following parts may be wrapped as an optional line by [`Builder::end_line`].
    pub(super) fn begin_line(&mut self) {
        self.line_start = self.template.parts.len();
        self.line_pool = self.template.pool.len();
        self.line_optional = false;
        self.barrier = Some(self.line_start);
    }

    pub(super) fn field(&mut self, field: Field) {
        let field = match field {
            Field::LocalIp | Field::ServerIp if self.follows_address_type() => Field::LocalIpInSdp,
            Field::RemoteIp if self.follows_address_type() => Field::RemoteIpInSdp,
            // The way of SIPp to write the port of video.
            Field::MediaPort(offset) if offset >= 2 && self.is_video_line() => {
                Field::VideoPort(offset - 2)
            }
            other => other,
        };
        self.line_optional |= self.line_is_empty() && field.may_be_empty();
        self.len_fields += usize::from(matches!(field, Field::Len(_)));
        self.authentication_fields += usize::from(matches!(field, Field::Authentication(_)));
        self.template.parts.push(Part::Field(field));
    }

    /// Tells whether the builder is behind `IN IP4 `, `IN IP6 ` or `IN IP[local_ip_type] ` in a
    /// body. An address in SDP form follows, as in `c=` and `o=` lines.
    fn follows_address_type(&self) -> bool {
        let Some(line) = self.template.parts.get(self.line_start..).filter(|_| self.in_body) else {
            return false;
        };
        let [before @ .., Part::Literal { start, end }] = line else { return false };
        let text = &self.template.pool[*start as usize..*end as usize];
        let word = text.trim_ascii_end();
        if word.len() == text.len() {
            return false;
        }
        match before {
            [.., Part::Literal { start, end }, Part::Field(_)] if word.is_empty() => {
                self.template.pool[*start as usize..*end as usize].ends_with(b"IN IP")
            }
            _ => word.ends_with(b"IN IP4") || word.ends_with(b"IN IP6"),
        }
    }

    /// Tells whether the builder is in the `m=video` line of a body.
    fn is_video_line(&self) -> bool {
        let line = self.template.parts.get(self.line_start..).unwrap_or_default();
        let Some(Part::Literal { start, end }) = line.first().filter(|_| self.in_body) else {
            return false;
        };
        self.template.pool[*start as usize..*end as usize].starts_with(b"m=video ")
    }

    /// Tells whether nothing was added since the line began.
    pub(super) fn line_is_empty(&self) -> bool {
        self.line_start == self.template.parts.len() && self.line_pool == self.template.pool.len()
    }

    /// Bytes of literals so far.
    pub(super) fn len(&self) -> usize {
        self.template.pool.len()
    }

    /// Number of `[len]` so far.
    pub(super) fn len_fields(&self) -> usize {
        self.len_fields
    }

    /// Number of `[authentication]` so far.
    pub(super) fn authentication_fields(&self) -> usize {
        self.authentication_fields
    }

    /// Ends a line; returns the number of its parts.
    pub(super) fn end_line(&mut self) -> usize {
        let parts = self.template.parts.len() - self.line_start;
        if self.line_optional {
            // The caller refuses lines with more parts than fit.
            let line = Part::OptionalLine { parts: parts as u16 };
            self.template.parts.insert(self.line_start, line);
        }
        self.end_first_line();
        parts
    }

    /// Ends the first line, which is never optional; returns the number of its parts.
    pub(super) fn end_first_line(&mut self) -> usize {
        self.line_optional = false;
        self.barrier = Some(self.template.parts.len());
        self.template.parts.len() - self.line_start
    }

    pub(super) fn mark_body(&mut self) {
        self.template.body_part = self.template.parts.len();
        self.in_body = true;
    }

    pub(super) fn finish(mut self) -> Template {
        merge_literals(&mut self.template, &|_| None);
        self.template
    }
}

fn push_literal(template: &mut Template, bytes: &[u8], barrier: Option<usize>) {
    if bytes.is_empty() {
        return;
    }
    let start = template.pool.len() as u32;
    template.pool.extend_from_slice(bytes);
    let end = template.pool.len() as u32;
    let part = template.parts.len();
    let may_merge = barrier != Some(part) && template.body_part != part;
    if let Some(Part::Literal { end: last, .. }) = template.parts.last_mut()
        && *last == start
        && may_merge
    {
        *last = end;
        return;
    }
    template.parts.push(Part::Literal { start, end });
}

/// Rebuilds `template` with every field for which `constant` gives bytes turned into a literal, and
/// neighbouring literals merged. Literals do not merge across the borders of optional lines and of
/// the body.
fn merge_literals(template: &mut Template, constant: &dyn Fn(&Field) -> Option<Vec<u8>>) {
    let old = std::mem::take(template);
    let mut barrier = None;
    let mut wrapped: Option<(usize, usize)> = None; // (index of OptionalLine, old end)
    for (index, part) in old.parts.iter().enumerate() {
        if index == old.body_part {
            template.body_part = template.parts.len();
            barrier = Some(template.parts.len());
        }
        match part {
            Part::Literal { start, end } => {
                let bytes = &old.pool[*start as usize..*end as usize];
                push_literal(template, bytes, barrier);
            }
            Part::OptionalLine { parts } => {
                template.parts.push(part.clone());
                wrapped = Some((template.parts.len() - 1, index + 1 + *parts as usize));
                barrier = Some(template.parts.len());
            }
            Part::Field(field) => match constant(field) {
                Some(bytes) => push_literal(template, &bytes, barrier),
                None => template.parts.push(Part::Field(field.bind(constant))),
            },
        }
        if let Some((start, end)) = wrapped
            && index + 1 == end
        {
            let count = (template.parts.len() - start - 1) as u16;
            template.parts[start] = Part::OptionalLine { parts: count };
            wrapped = None;
            barrier = Some(template.parts.len());
        }
    }
    if old.body_part >= old.parts.len() {
        template.body_part = template.parts.len();
    }
}

impl Template {
    /// Bytes of memory that the template takes.
    pub(super) fn bytes(&self) -> usize {
        self.pool.len() + self.parts.len() * size_of::<Part>()
    }

    /// The same template with every field that `constant` knows folded into the literals.
    pub fn bind(&self, constant: impl Fn(&Field) -> Option<Vec<u8>>) -> Template {
        let mut bound = self.clone();
        merge_literals(&mut bound, &constant);
        bound
    }

    /// All fields, in order, and those of the texts inside them.
    pub fn fields(&self) -> impl Iterator<Item = &Field> {
        self.own_fields().flat_map(|field| {
            let nested: Box<dyn Iterator<Item = &Field> + '_> =
                Box::new(field.nested().flat_map(Template::fields));
            std::iter::once(field).chain(nested)
        })
    }

    fn own_fields(&self) -> impl Iterator<Item = &Field> {
        self.parts.iter().filter_map(|part| match part {
            Part::Field(field) => Some(field),
            _ => None,
        })
    }

    /// The text, if it has no fields.
    pub fn as_literal(&self) -> Option<&[u8]> {
        self.own_fields().next().is_none().then_some(&self.pool[..])
    }
}
