//! An HTTP server around a fake API, with answers that get lost, come twice, never, or as garbage.

use std::{
    io,
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Query, State},
    http::{Request, Response, StatusCode},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use parking_lot::{Mutex, MutexGuard};
use serde_json::Value;

/// One request as the fake sees it.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Call {
    pub(crate) fn query(&self, key: &str) -> Option<&str> {
        self.query
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, value)| value.as_str())
    }

    pub(crate) fn header(&self, key: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }
}

/// One answer of a fake.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn json(status: u16, body: &Value) -> Self {
        let headers = vec![("content-type", "application/json".to_owned())];
        Self {
            status,
            headers,
            body: body.to_string().into_bytes(),
        }
    }

    pub(crate) fn empty(status: u16) -> Self {
        Self::text(status, "")
    }

    pub(crate) fn text(status: u16, body: &str) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: body.as_bytes().to_vec(),
        }
    }
}

/// A stand-in for one cloud's API.
pub(crate) trait Api: Send + 'static {
    /// Is reported where it answers, before the first call comes.
    fn set_url(&mut self, _url: &str) {}

    /// Returns the names of all that is there, by kind.
    fn names(&mut self) -> Vec<String>;

    /// Carries out a call.
    fn answer(&mut self, call: &Call) -> Reply;

    /// Says what about a call and its reply is not as the vendor describes it.
    fn mistakes(&self, call: &Call, reply: &Reply) -> Vec<String>;
}

/// Real boxes for a fake, which has a name of its own for each. Neither call waits for anything.
pub(crate) trait Boxes: Send + Sync {
    /// Begins to make the box of that name from its user-data, and returns the address that it will have.
    fn make(&self, name: &str, user_data: &[u8]) -> Ipv4Addr;

    /// Begins to destroy the box of that name.
    fn destroy(&self, name: &str);
}

/// What stands behind a fake's boxes: none, and addresses at which nobody answers, unless a test says otherwise.
#[derive(Clone, Default)]
pub(crate) struct Behind(pub(crate) Option<Arc<dyn Boxes>>);

impl Behind {
    /// Begins to make the box of that name, and returns its address: `otherwise` where there is none.
    pub(crate) fn make(&self, name: &str, user_data: &[u8], otherwise: String) -> String {
        match &self.0 {
            Some(boxes) => boxes.make(name, user_data).to_string(),
            None => otherwise,
        }
    }

    /// Begins to destroy the box of that name.
    pub(crate) fn destroy(&self, name: &str) {
        if let Some(boxes) = &self.0 {
            boxes.destroy(name);
        }
    }
}

/// Returns user-data that was sent in base64. None: it was not.
pub(crate) fn decoded(user_data: &Value) -> Option<Vec<u8>> {
    STANDARD.decode(user_data.as_str().unwrap_or_default()).ok()
}

/// What goes wrong with a call.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// It is carried out, and the connection is cut before the answer.
    LoseAnswer,
    /// It never arrives, and the connection is cut.
    LoseCall,
    /// It is carried out, and no answer ever comes.
    Hang,
    /// It is carried out, and what comes is no answer.
    Garbage,
    /// It arrives twice; the second answer comes.
    Twice,
    /// It is not carried out; this comes instead.
    Refuse(Reply),
    /// It is carried out, and this comes all the same.
    Belie(Reply),
}

/// Changes the body of an answer.
pub(crate) type Alter = Box<dyn FnMut(Vec<u8>) -> Vec<u8> + Send>;

/// A fake that is being served.
pub(crate) struct Fake<A> {
    /// Where it answers.
    pub(crate) url: String,
    shared: Arc<Shared<A>>,
    server: tokio::task::JoinHandle<()>,
}

struct Shared<A> {
    api: Mutex<A>,
    faults: Mutex<Vec<(String, String, Fault)>>,
    calls: Mutex<Vec<Call>>,
    mistakes: Mutex<Vec<String>>,
    alter: Mutex<Option<Alter>>,
    /// How long an answer takes, in milliseconds.
    latency: AtomicU64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock()
}

impl<A: Api> Fake<A> {
    /// Serves a fake on loopback until it is dropped.
    pub(crate) async fn serve(mut api: A) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        api.set_url(&url);
        let shared = Arc::new(Shared {
            api: Mutex::new(api),
            faults: Mutex::default(),
            calls: Mutex::default(),
            mistakes: Mutex::default(),
            alter: Mutex::default(),
            latency: AtomicU64::new(0),
        });
        let router = Router::new().fallback(serve_one::<A>).with_state(shared.clone());
        let server = tokio::spawn(async move { axum::serve(listener, router).await.expect("it serves") });
        Self { url, shared, server }
    }

    /// From now on each body is answered as that makes it, and nothing is held to the vendor's description.
    pub(crate) fn alter(&self, alter: Option<Alter>) {
        *lock(&self.shared.alter) = alter;
    }

    /// From now on each answer takes so long, in real time.
    pub(crate) fn set_latency(&self, latency: Duration) {
        let milliseconds = u64::try_from(latency.as_millis()).expect("a short time");
        self.shared.latency.store(milliseconds, Ordering::Relaxed);
    }

    /// Gives access to the cloud behind the API.
    pub(crate) fn api(&self) -> MutexGuard<'_, A> {
        lock(&self.shared.api)
    }

    /// The next call whose method and path begin so goes wrong. Several wait in line.
    pub(crate) fn fault(&self, call: &str, fault: Fault) {
        self.fault_in_body(call, "", fault);
    }

    /// The same for a call that has this in its body.
    pub(crate) fn fault_in_body(&self, call: &str, body: &str, fault: Fault) {
        lock(&self.shared.faults).push((call.to_owned(), body.to_owned(), fault));
    }

    /// Returns the names of all that is there, by kind.
    pub(crate) fn names(&self) -> Vec<String> {
        self.api().names()
    }

    /// Returns how many calls came whose method and path begin so.
    pub(crate) fn count(&self, call: &str) -> usize {
        self.count_in_body(call, "")
    }

    /// The same of calls that have this in their body.
    pub(crate) fn count_in_body(&self, call: &str, body: &str) -> usize {
        let calls = lock(&self.shared.calls);
        calls.iter().filter(|seen| is_meant(seen, call, body)).count()
    }

    /// Returns what `what` makes of each call that came.
    pub(crate) fn seen<T>(&self, what: impl Fn(&Call) -> T) -> Vec<T> {
        lock(&self.shared.calls).iter().map(what).collect()
    }

    /// Returns all calls, as method and path.
    pub(crate) fn calls(&self) -> Vec<String> {
        lock(&self.shared.calls).iter().map(name).collect()
    }
}

impl<A> Drop for Fake<A> {
    fn drop(&mut self) {
        self.server.abort();
        if !std::thread::panicking() {
            assert_eq!(
                *lock(&self.shared.mistakes),
                Vec::<String>::new(),
                "against the vendor's description"
            );
            assert!(
                lock(&self.shared.faults).is_empty(),
                "faults that never came about"
            );
        }
    }
}

fn name(call: &Call) -> String {
    format!("{} {}", call.method, call.path)
}

/// Returns whether method and path of a call begin so, and its body holds that.
fn is_meant(call: &Call, prefix: &str, part: &str) -> bool {
    name(call).starts_with(prefix) && String::from_utf8_lossy(&call.body).contains(part)
}

async fn serve_one<A: Api>(State(shared): State<Arc<Shared<A>>>, request: Request<Body>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 64 << 20)
        .await
        .expect("a body")
        .to_vec();
    let Query(query) = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri).expect("a query");
    let call = Call {
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        query,
        headers: parts
            .headers
            .iter()
            .map(|(name, value)| (name.to_string(), text(value)))
            .collect(),
        body,
    };
    lock(&shared.calls).push(call.clone());
    tokio::time::sleep(Duration::from_millis(shared.latency.load(Ordering::Relaxed))).await;
    let fault = shared.take_fault(&call);
    let cut = || io::Error::new(io::ErrorKind::ConnectionReset, "cut");
    match fault {
        None => respond(shared.carry_out(&call)),
        Some(Fault::Refuse(reply)) => respond(reply),
        Some(Fault::LoseCall) => broken(cut()),
        Some(Fault::LoseAnswer) => {
            shared.carry_out(&call);
            broken(cut())
        }
        Some(Fault::Hang) => {
            shared.carry_out(&call);
            std::future::pending().await
        }
        Some(Fault::Garbage) => {
            shared.carry_out(&call);
            respond(Reply {
                status: 200,
                headers: Vec::new(),
                body: b"<html>\xff\x00 welcome to nginx".to_vec(),
            })
        }
        Some(Fault::Twice) => {
            shared.carry_out(&call);
            respond(shared.carry_out(&call))
        }
        Some(Fault::Belie(reply)) => {
            shared.carry_out(&call);
            respond(reply)
        }
    }
}

impl<A: Api> Shared<A> {
    fn take_fault(&self, call: &Call) -> Option<Fault> {
        let mut faults = lock(&self.faults);
        let found = faults
            .iter()
            .position(|(prefix, part, _)| is_meant(call, prefix, part))?;
        Some(faults.remove(found).2)
    }

    fn carry_out(&self, call: &Call) -> Reply {
        let mut api = lock(&self.api);
        let mut reply = api.answer(call);
        if let Some(alter) = &mut *lock(&self.alter) {
            reply.body = alter(reply.body);
            return reply;
        }
        let mut mistakes = lock(&self.mistakes);
        for mistake in api.mistakes(call, &reply) {
            if !mistakes.contains(&mistake) {
                mistakes.push(mistake);
            }
        }
        reply
    }
}

fn text(value: &axum::http::HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

fn respond(reply: Reply) -> Response<Body> {
    let mut response = Response::builder().status(reply.status);
    for (name, value) in reply.headers {
        response = response.header(name, value);
    }
    response.body(Body::from(reply.body)).expect("a response")
}

/// Begins an answer and cuts the connection.
fn broken(error: io::Error) -> Response<Body> {
    let stream = futures::stream::iter([Ok(Bytes::from_static(b"{")), Err(error)]);
    let mut response = Response::new(Body::from_stream(stream));
    *response.status_mut() = StatusCode::OK;
    response
}
