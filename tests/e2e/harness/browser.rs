//! A headless Chromium, steered over its DevTools protocol. Pages are seen, clicked and typed into
//! as by a person, and the messages of their console are kept.

use std::process::Command;

use serde_json::{Value, json};
use tungstenite::Message;

use super::http::{Client, Live};
use super::process::Process;
use super::scratch::Scratch;
use super::service::until;
use super::tools::need;

/// A browser without a window. It ends when it is dropped.
pub struct Browser {
    _process: Process,
    client: Client,
    _profile: Scratch,
}

/// A page in it, with its own session.
pub struct Tab {
    live: Live,
    calls: u64,
    complaints: Vec<String>,
}

impl Browser {
    /// Starts a browser with its own profile.
    #[track_caller]
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts a browser with further options.
    #[track_caller]
    pub fn start_with(options: &[&str]) -> Self {
        need("chromium");
        let profile = Scratch::new();
        let mut command = Command::new("chromium");
        command
            .args(["--headless=new", "--remote-debugging-port=0", "--no-first-run"])
            .args(["--disable-gpu", "--disable-dev-shm-usage", "--no-proxy-server"])
            .args(["--disable-background-networking", "--disable-component-update", "about:blank"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .args(options)
            .env("HOME", profile.path());
        if rustix::process::geteuid().is_root() {
            // Its sandbox does not work for root, who tests in containers.
            command.arg("--no-sandbox");
        }
        let mut process = Process::spawn(command);
        let mark = "DevTools listening on ws://";
        process.wait_for_stderr(mark);
        let text = process.stderr();
        let (_, rest) = text.split_once(mark).expect("it was waited for");
        let address = rest.split('/').next().unwrap_or("");
        let address = address.parse().unwrap_or_else(|error| panic!("{address:?}: {error}"));
        Self { _process: process, client: Client::new(address), _profile: profile }
    }

    /// Opens a page.
    #[track_caller]
    pub fn open(&self, url: &str) -> Tab {
        let target = self.client.request("PUT", "/json/new?about:blank", None).expect(200).json();
        let path = format!("/devtools/page/{}", target["id"].as_str().expect("an id"));
        let live = self.client.websocket(&path).expect("the page can be steered");
        let mut tab = Tab { live, calls: 0, complaints: Vec::new() };
        for domain in ["Page", "Runtime", "Log", "Audits"] {
            tab.call(&format!("{domain}.enable"), json!({}));
        }
        tab.call("Page.navigate", json!({ "url": url }));
        tab.until("page", "document.readyState === 'complete' && location.href !== 'about:blank'");
        tab
    }
}

impl Tab {
    /// The result of a command of the protocol.
    #[track_caller]
    pub fn call(&mut self, method: &str, params: Value) -> Value {
        self.try_call(method, params).unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    fn try_call(&mut self, method: &str, params: Value) -> Result<Value, Value> {
        self.calls += 1;
        let call = json!({ "id": self.calls, "method": method, "params": params });
        self.live.0.send(Message::text(call.to_string())).expect("the browser runs");
        loop {
            let mut message = self.live.frame();
            if message["id"] == json!(self.calls) {
                return match message["error"].take() {
                    Value::Null => Ok(message["result"].take()),
                    error => Err(error),
                };
            }
            self.complaints.extend(complaint(&message));
        }
    }

    /// Takes the complaints of the console and of the content policy since the last call.
    #[track_caller]
    pub fn complaints(&mut self) -> Vec<String> {
        // Earlier events arrive before the answer.
        self.eval("0");
        std::mem::take(&mut self.complaints)
    }

    /// The value of a JavaScript expression.
    #[track_caller]
    pub fn eval(&mut self, expression: &str) -> Value {
        let result = self.call("Runtime.evaluate", evaluation(expression));
        assert!(result["exceptionDetails"].is_null(), "{expression}: {result:#}");
        result["result"]["value"].clone()
    }

    /// Waits until an expression is true.
    #[track_caller]
    pub fn until(&mut self, what: &str, expression: &str) {
        until(what, || {
            // A page that is still being loaded has no elements yet.
            let result = self.try_call("Runtime.evaluate", evaluation(expression)).ok()?;
            (result["result"]["value"] == json!(true)).then_some(())
        });
    }

    /// The text of an element.
    #[track_caller]
    pub fn text(&mut self, selector: &str) -> String {
        let value = self.eval(&format!("document.querySelector({selector:?}).innerText"));
        value.as_str().unwrap_or_default().to_owned()
    }

    /// Waits until an element shows `text`.
    #[track_caller]
    pub fn until_text(&mut self, selector: &str, text: &str) {
        let expression = format!("document.querySelector({selector:?})?.innerText === {text:?}");
        self.until(text, &expression);
    }

    /// Presses and releases the left button on the element that an expression gives. The element
    /// must be visible there, not covered by another.
    #[track_caller]
    pub fn click(&mut self, element: &str) {
        let found = self.eval(&format!(
            "(() => {{
                const element = {element};
                element.scrollIntoView({{ block: 'center' }});
                const box = element.getBoundingClientRect();
                const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
                const hit = document.elementFromPoint(x, y);
                return {{ x, y, hit: element.contains(hit) || hit?.outerHTML }};
            }})()"
        ));
        assert_eq!(found["hit"], json!(true), "what is clicked for {element}");
        for kind in ["mousePressed", "mouseReleased"] {
            let event = json!({
                "type": kind, "x": found["x"], "y": found["y"], "button": "left", "clickCount": 1,
            });
            self.call("Input.dispatchMouseEvent", event);
        }
    }

    /// Focuses the field that an expression gives, with its whole text selected.
    #[track_caller]
    pub fn select(&mut self, field: &str) {
        self.eval(&format!(
            "(() => {{ const field = {field}; field.focus(); field.select(); }})()"
        ));
    }

    /// Types into the focused field, over the selected text.
    #[track_caller]
    pub fn write(&mut self, text: &str) {
        self.call("Input.insertText", json!({ "text": text }));
    }

    /// Presses and releases `Enter` or `Tab`.
    #[track_caller]
    pub fn press(&mut self, key: &str) {
        let (code, text) = match key {
            "Enter" => (13, "\r"),
            "Tab" => (9, ""),
            _ => panic!("no code for {key}"),
        };
        for kind in ["keyDown", "keyUp"] {
            let mut event = json!({
                "type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code,
            });
            if kind == "keyDown" && !text.is_empty() {
                event["text"] = json!(text);
            }
            self.call("Input.dispatchKeyEvent", event);
        }
    }

    /// Sets the size of the page to `width` by `height`, on a system with a dark or a light theme.
    #[track_caller]
    pub fn screen(&mut self, width: u32, height: u32, is_dark: bool) {
        let size = json!({
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500,
        });
        self.call("Emulation.setDeviceMetricsOverride", size);
        let scheme = if is_dark { "dark" } else { "light" };
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.call("Emulation.setEmulatedMedia", json!({ "features": features }));
    }
}

fn evaluation(expression: &str) -> Value {
    json!({ "expression": expression, "returnByValue": true, "awaitPromise": true })
}

/// The complaint in an event of the protocol, if it is one. Those about failed requests begin with
/// `network`.
fn complaint(event: &Value) -> Option<String> {
    let params = &event["params"];
    match event["method"].as_str()? {
        "Runtime.exceptionThrown" => Some(format!("exception {}", params["exceptionDetails"])),
        "Runtime.consoleAPICalled"
            if matches!(params["type"].as_str(), Some("error" | "warning" | "assert")) =>
        {
            Some(format!("console {}", params["args"]))
        }
        "Log.entryAdded" => {
            let entry = &params["entry"];
            let is_bad = matches!(entry["level"].as_str(), Some("error" | "warning"));
            let field = |name: &str| entry[name].as_str().unwrap_or("").to_owned();
            is_bad.then(|| format!("{} {} {}", field("source"), field("text"), field("url")))
        }
        "Audits.issueAdded" => {
            let issue = &params["issue"];
            (issue["code"] == json!("ContentSecurityPolicyIssue"))
                .then(|| format!("policy {issue}"))
        }
        _ => None,
    }
}
