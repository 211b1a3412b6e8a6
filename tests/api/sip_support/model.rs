//! A valid message as a structure, written plainly or with every freedom that RFC 3261 7.3 gives.

use gossipper::sip::{HeaderId, Kind, Message, Method, NameAddr, Rport, Uri};

use super::choices::Choices;

#[derive(Clone, Debug)]
pub enum Start {
    Request { method: String, uri: String },
    Response { code: u16, reason: String },
}

#[derive(Clone, Debug)]
pub struct ViaModel {
    pub transport: String,
    pub host: String,
    pub port: Option<u16>,
    pub branch: Option<String>,
    pub received: Option<String>,
    pub rport: Rport,
}

#[derive(Clone, Debug)]
pub struct AddressModel {
    /// Quotes included.
    pub display: String,
    pub uri: String,
    pub bracketed: bool,
    pub tag: Option<String>,
}

#[derive(Clone, Debug)]
pub struct Model {
    pub start: Start,
    pub vias: Vec<ViaModel>,
    pub from: AddressModel,
    pub to: AddressModel,
    pub call_id: String,
    pub cseq: u32,
    pub cseq_method: String,
    pub contacts: Vec<AddressModel>,
    pub record_routes: Vec<AddressModel>,
    pub extras: Vec<(String, String)>,
    pub body: Vec<u8>,
}

const METHODS: [&str; 8] =
    ["INVITE", "ACK", "BYE", "OPTIONS", "REGISTER", "MESSAGE", "NEW-METHOD", "invite"];

impl Model {
    pub fn generate(choices: &mut Choices) -> Self {
        let cseq_method = choices.of(&METHODS).to_owned();
        let start = if choices.flag() {
            let code = 100 + choices.below(600) as u16;
            Start::Response { code, reason: choices.of(&["", "OK", "Not  so good", "é"]).into() }
        } else {
            Start::Request { method: cseq_method.clone(), uri: uri(choices) }
        };
        let many = |choices: &mut Choices, max: usize| choices.below(max + 1);
        Self {
            start,
            vias: (0..1 + many(choices, 2)).map(|_| ViaModel::generate(choices)).collect(),
            from: AddressModel::generate(choices),
            to: AddressModel::generate(choices),
            call_id: format!("{}@{}", choices.token(), host(choices)),
            cseq: choices.of(&[0, 1, 70_000, (1 << 31) - 1]),
            cseq_method,
            contacts: (0..many(choices, 2)).map(|_| AddressModel::generate(choices)).collect(),
            record_routes: (0..many(choices, 2)).map(|_| AddressModel::generate(choices)).collect(),
            extras: (0..many(choices, 3)).map(|_| extra(choices)).collect(),
            body: choices.bytes(40),
        }
    }

    /// The message with full names, one value per line, CRLF and no liberties.
    pub fn plain(&self) -> Vec<u8> {
        self.write(&mut Choices::new(Vec::new()), false)
    }

    /// The same message with compact names, odd case, folds and blanks.
    pub fn styled(&self, choices: &mut Choices) -> Vec<u8> {
        self.write(choices, true)
    }

    fn write(&self, choices: &mut Choices, styled: bool) -> Vec<u8> {
        let line_end = if styled && choices.flag() { "\n" } else { "\r\n" };
        let mut text = match &self.start {
            Start::Request { method, uri } => format!("{method} {uri} SIP/2.0"),
            Start::Response { code, reason } => format!("SIP/2.0 {code} {reason}"),
        };
        text.push_str(line_end);
        let length_at = if styled { choices.below(6) } else { usize::MAX };
        for (at, (id, name, value)) in self.lines(choices, styled).into_iter().enumerate() {
            if at == length_at {
                self.write_length(&mut text, choices, styled, line_end);
            }
            write_header(&mut text, id, &name, &value, choices, styled, line_end);
        }
        if length_at >= self.lines(&mut Choices::new(Vec::new()), styled).len() {
            self.write_length(&mut text, choices, styled, line_end);
        }
        text.push_str(line_end);
        let mut bytes = text.into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }

    fn write_length(&self, text: &mut String, choices: &mut Choices, styled: bool, end: &str) {
        let id = HeaderId::ContentLength;
        let value = self.body.len().to_string();
        write_header(text, id, id.name(), &value, choices, styled, end);
    }

    /// Header lines as id, name and value; a space in a value may become any white space.
    fn lines(&self, choices: &mut Choices, styled: bool) -> Vec<(HeaderId, String, String)> {
        let mut lines = Vec::new();
        let mut add = |id: HeaderId, value: String| lines.push((id, id.name().to_owned(), value));
        let join = styled && choices.flag();
        let mut list = |id, values: Vec<String>| match join && !values.is_empty() {
            true => add(id, values.join(" , ")),
            false => values.into_iter().for_each(|value| add(id, value)),
        };
        list(HeaderId::Via, self.vias.iter().map(ViaModel::value).collect());
        list(HeaderId::RecordRoute, self.record_routes.iter().map(AddressModel::value).collect());
        list(HeaderId::Contact, self.contacts.iter().map(AddressModel::value).collect());
        add(HeaderId::From, self.from.value());
        add(HeaderId::To, self.to.value());
        add(HeaderId::CallId, self.call_id.clone());
        add(HeaderId::CSeq, format!("{} {}", self.cseq, self.cseq_method));
        for (name, value) in &self.extras {
            lines.push((HeaderId::Other, name.clone(), value.clone()));
        }
        lines
    }

    /// Fails unless `message` has the content of the model.
    pub fn assert_equals(&self, message: &Message<'_>) {
        match (&self.start, message.kind()) {
            (Start::Request { method, uri }, Kind::Request { method: got, uri: got_uri }) => {
                assert_eq!(got, Method::from_bytes(method.as_bytes()));
                assert_eq!(got_uri, uri.as_bytes());
            }
            (
                Start::Response { code, reason },
                Kind::Response { code: got, reason: got_reason },
            ) => {
                assert_eq!((got, got_reason), (*code, reason.as_bytes()));
            }
            (expected, got) => panic!("{expected:?} became {got:?}"),
        }
        assert_eq!(message.check(), Ok(()));
        let cseq = message.cseq().unwrap();
        assert_eq!((cseq.number, cseq.method.as_bytes()), (self.cseq, self.cseq_method.as_bytes()));
        assert_eq!(message.call_id(), Some(self.call_id.as_bytes()));
        assert_eq!(message.from_tag(), self.from.tag.as_deref().map(str::as_bytes));
        assert_eq!(message.to_tag(), self.to.tag.as_deref().map(str::as_bytes));
        assert_eq!(message.contact_uri(), self.contacts.first().map(|first| first.uri.as_bytes()));
        assert_eq!(message.vias().count(), self.vias.len());
        for (via, expected) in message.vias().zip(&self.vias) {
            expected.assert_equals(&via.unwrap());
        }
        for (id, expected) in [
            (HeaderId::From, std::slice::from_ref(&self.from)),
            (HeaderId::To, std::slice::from_ref(&self.to)),
            (HeaderId::Contact, &self.contacts),
            (HeaderId::RecordRoute, &self.record_routes),
        ] {
            assert_eq!(message.name_addrs(id).count(), expected.len());
            for (address, expected) in message.name_addrs(id).zip(expected) {
                expected.assert_equals(&address.unwrap());
            }
        }
        let extras = message.headers().filter(|header| header.id == HeaderId::Other);
        assert_eq!(extras.clone().count(), self.extras.len());
        for (header, (name, value)) in extras.zip(&self.extras) {
            assert!(header.name.eq_ignore_ascii_case(name.as_bytes()));
            assert_eq!(squeeze(header.value), squeeze(value.as_bytes()));
        }
        assert_eq!(message.body(), self.body);
    }
}

impl ViaModel {
    fn generate(choices: &mut Choices) -> Self {
        Self {
            transport: choices.of(&["UDP", "TCP", "TLS", "WSS", "x-new"]).to_owned(),
            host: host(choices),
            port: choices.maybe(|choices| choices.of(&[1, 5060, 65_535])),
            branch: choices.maybe(|choices| format!("z9hG4bK{}", choices.token())),
            received: choices.maybe(|choices| choices.of(&["192.0.2.7", "[2001:db8::7]"]).into()),
            rport: choices.of(&[Rport::Absent, Rport::Requested, Rport::Port(9)]),
        }
    }

    fn value(&self) -> String {
        let mut value = format!("SIP/2.0/{} {}", self.transport, self.host);
        if let Some(port) = self.port {
            value += &format!(":{port}");
        }
        match self.rport {
            Rport::Absent => {}
            Rport::Requested => value += " ;rport",
            Rport::Port(port) => value += &format!(" ;rport= {port}"),
        }
        if let Some(branch) = &self.branch {
            value += &format!("; branch ={branch}");
        }
        if let Some(received) = &self.received {
            value += &format!(";received={received} ;x=\"a;b,c\"");
        }
        value
    }

    fn assert_equals(&self, via: &gossipper::sip::Via<'_>) {
        assert_eq!(via.transport, self.transport.as_bytes());
        assert_eq!((via.host, via.port), (self.host.as_bytes(), self.port));
        assert_eq!(via.branch, self.branch.as_deref().map(str::as_bytes));
        assert_eq!(via.received, self.received.as_deref().map(str::as_bytes));
        assert_eq!(via.received_ip().is_some(), self.received.is_some());
        assert_eq!(via.rport, self.rport);
    }
}

impl AddressModel {
    fn generate(choices: &mut Choices) -> Self {
        let uri = uri(choices);
        // Only brackets keep the URI's own separators apart from the header's (RFC 3261 20.10).
        let bracketed = choices.flag() || uri.contains([';', '?', ',']);
        let display = match choices.below(if bracketed { 4 } else { 1 }) {
            0 => String::new(),
            1 => "Anna".to_owned(),
            2 => r#""A, <\"B\">;tag=no""#.to_owned(),
            _ => "\"\"".to_owned(),
        };
        Self { display, uri, bracketed, tag: choices.maybe(Choices::token) }
    }

    fn value(&self) -> String {
        let mut value = match self.bracketed {
            true => format!("{} <{}>", self.display, self.uri),
            false => self.uri.clone(),
        };
        if let Some(tag) = &self.tag {
            value += &format!(" ;x;tag= {tag}");
        }
        value.trim_start().to_owned()
    }

    fn assert_equals(&self, address: &NameAddr<'_>) {
        assert_eq!(address.display, self.display.as_bytes());
        assert_eq!((address.uri, address.bracketed), (self.uri.as_bytes(), self.bracketed));
        assert_eq!(address.tag(), self.tag.as_deref().map(str::as_bytes));
        assert!(Uri::parse(address.uri).is_ok());
    }
}

fn host(choices: &mut Choices) -> String {
    choices.of(&["example.com", "192.0.2.1", "[2001:db8::1]", "a-b.c_d"]).to_owned()
}

fn uri(choices: &mut Choices) -> String {
    let user = choices.of(&["", "bob@", "u:p@", "a;b=%40@", "+1-2@", "%00@"]);
    let params = choices.of(&["", ";lr", ";transport=tcp;lr", "?x=y,z"]);
    match choices.below(4) {
        0 => "tel:+1-201-555-0123".to_owned(),
        1 => format!("sips:{user}{}:5061{params}", host(choices)),
        _ => format!("sip:{user}{}{params}", host(choices)),
    }
}

fn extra(choices: &mut Choices) -> (String, String) {
    let name = format!("X-{}", choices.token());
    let value = choices.text("ab 0:,;\"<>é\t", 0, 20);
    (name, value.trim().to_owned())
}

fn write_header(
    text: &mut String,
    id: HeaderId,
    name: &str,
    value: &str,
    choices: &mut Choices,
    styled: bool,
    end: &str,
) {
    if !styled {
        *text += &format!("{name}: {value}{end}");
        return;
    }
    match (id.compact(), choices.below(4)) {
        (Some(letter), 0) => text.push(char::from(letter)),
        (Some(letter), 1) => text.push(char::from(letter.to_ascii_uppercase())),
        (_, 2) => *text += &name.to_lowercase(),
        _ => *text += name,
    }
    *text += choices.of(&["", "", " ", "\t "]);
    text.push(':');
    *text += &choices.of(&["", " ", "\t", "EOL ", "EOL\tEOL "]).replace("EOL", end);
    let mut quoted = false;
    for symbol in value.chars() {
        quoted ^= symbol == '"';
        match symbol {
            // White space inside quotes is the value's own.
            ' ' if !quoted => *text += &choices.of(&[" ", "  ", "EOL  ", "\t"]).replace("EOL", end),
            other => text.push(other),
        }
    }
    *text += choices.of(&["", " ", "\t"]);
    *text += end;
}

/// A value with each run of white space as one space.
fn squeeze(value: &[u8]) -> Vec<u8> {
    value
        .split(|byte| byte.is_ascii_whitespace())
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(&b' ')
}
