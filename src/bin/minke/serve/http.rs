//! The routes. Only this machine reaches them, and of its browsers' pages none does: a page's request for JSON asks first, and is not
//! answered; a name that a page made point here is not this host's.

use std::convert::Infallible;
use std::net::TcpListener;
use std::sync::{Arc, Mutex, MutexGuard, mpsc};

use axum::Json;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Request as HttpRequest, State};
use axum::http::{HeaderMap, header};
use axum::middleware::{self, Next};
use axum::response::sse::{Event as SseEvent, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use minke::engine::{GenerateResult, StreamPart, Usage};
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::UnboundedReceiverStream;

use super::chat::{self, Chunks, Head};
use super::completions;
use super::job::{Ask, Event, Job};
use super::reply::{self, Refusal};
use super::responses::{self, Stored, Writer};

/// What is served.
#[derive(Clone)]
pub struct Served {
    /// The model's name.
    id: String,
    /// Takes what the engine is to do.
    jobs: mpsc::Sender<Job>,
    responses: Arc<Mutex<Stored>>,
}

/// Answers requests until the process ends.
pub fn listen(listener: TcpListener, served: Served) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().expect("the system has sockets");
    runtime.block_on(async {
        listener.set_nonblocking(true).expect("the system's sockets can be polled");
        let listener = tokio::net::TcpListener::from_std(listener).expect("it is a listener");
        axum::serve(listener, router(served)).await.expect("it never ends");
    });
}

fn router(served: Served) -> Router {
    let routes = Router::new()
        .route("/models", get(models))
        .route("/models/{*id}", get(model))
        .route("/chat/completions", post(chat_completions))
        .route("/completions", post(text_completions))
        .route("/responses", post(create_response))
        .route("/responses/{id}", get(response).delete(delete_response))
        .route("/responses/{id}/input_items", get(input_of_response))
        .route("/embeddings", post(embeddings));
    let with_prefix = Router::new().nest("/v1", routes.clone()).merge(routes);
    with_prefix.fallback(unknown).layer(middleware::from_fn(from_here)).with_state(Arc::new(served))
}

/// Refuses requests to other hosts' names, and bodies that a page could send without asking.
async fn from_here(request: HttpRequest, next: Next) -> Response {
    let text = |headers: &HeaderMap, name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let host = text(request.headers(), header::HOST).unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host.as_str(), |(name, _)| name);
    if !["127.0.0.1", "localhost", "[::1]"].contains(&name) {
        return Refusal::request(None, format!("this server is not {name:?}")).into_response();
    }
    let kind = text(request.headers(), header::CONTENT_TYPE).unwrap_or_default();
    if request.method() == "POST" && !kind.starts_with("application/json") {
        return Refusal::request(None, "the content type must be application/json").into_response();
    }
    next.run(request).await
}

async fn unknown(request: HttpRequest) -> Refusal {
    Refusal::missing("unknown_url", format!("there is no {} {}", request.method(), request.uri().path()))
}

fn described(id: &str) -> Value {
    json!({ "id": id, "object": "model", "created": 0, "owned_by": "minke" })
}

async fn models(State(served): State<Arc<Served>>) -> Json<Value> {
    Json(json!({ "object": "list", "data": [described(&served.id)] }))
}

async fn model(State(served): State<Arc<Served>>, Path(id): Path<String>) -> Result<Json<Value>, Refusal> {
    served.check(&id)?;
    Ok(Json(described(&id)))
}

async fn embeddings() -> Refusal {
    Refusal::request(Some("model"), "this model makes no embeddings")
}

async fn chat_completions(State(served): State<Arc<Served>>, body: Bytes) -> Result<Response, Refusal> {
    let request = chat::Request::read(&body)?;
    served.check(&request.model)?;
    let head = Head::new("chatcmpl-", &request.model);
    if !request.stream {
        let results = served.all(&request.ask).await?;
        return Ok(Json(chat::whole(&head, &results)).into_response());
    }
    let mut chunks = Chunks::new(head);
    let chunks = served.stream(request.ask, Ending::Done, move |index, event| match event {
        Streamed::Begin => vec![chunks.first(index)],
        Streamed::Part(part) => chunks.part(index, part).into_iter().collect(),
        Streamed::End(Ok(usages)) if request.include_usage => {
            let mut last = chunks.head.with("chat.completion.chunk", json!([]));
            last["usage"] = reply::usage(usages);
            vec![last]
        }
        Streamed::End(Ok(_)) => Vec::new(),
        Streamed::End(Err(refusal)) => vec![refusal.body()],
    });
    Ok(chunks.await?.into_response())
}

async fn create_response(State(served): State<Arc<Served>>, body: Bytes) -> Result<Response, Refusal> {
    let mut request = responses::Request::read(&body, &served.responses())?;
    served.check(&request.model)?;
    let mut writer = Writer::new(&mut request);
    if !request.stream {
        let mut events = served.start(&request.ask, 0)?;
        loop {
            match events.recv().await.ok_or_else(stopped)? {
                Event::Part(part) => drop(writer.add(part)), // the response is what counts
                Event::Done(result) => break drop((*result)?),
            }
        }
        writer.keep(&mut served.responses());
        return Ok(Json(writer.response().clone()).into_response());
    }
    let keeper = served.clone();
    let events = served.stream(request.ask, Ending::Silent, move |_, event| match event {
        Streamed::Begin => writer.begin(),
        Streamed::Part(part) => writer.add(part),
        Streamed::End(Ok(_)) => {
            writer.keep(&mut keeper.responses());
            Vec::new()
        }
        Streamed::End(Err(refusal)) => vec![writer.failed(refusal)],
    });
    Ok(events.await?.into_response())
}

async fn response(State(served): State<Arc<Served>>, Path(id): Path<String>) -> Result<Json<Value>, Refusal> {
    served.responses().get(&id).map(Json)
}

async fn input_of_response(State(served): State<Arc<Served>>, Path(id): Path<String>) -> Result<Json<Value>, Refusal> {
    served.responses().input(&id).map(Json)
}

async fn delete_response(State(served): State<Arc<Served>>, Path(id): Path<String>) -> Result<Json<Value>, Refusal> {
    served.responses().delete(&id).map(Json)
}

async fn text_completions(State(served): State<Arc<Served>>, body: Bytes) -> Result<Response, Refusal> {
    let request = completions::Request::read(&body)?;
    served.check(&request.model)?;
    let head = Head::new("cmpl-", &request.model);
    let echo = request.echo.unwrap_or_default();
    if !request.stream {
        let results = served.all(&request.ask).await?;
        return Ok(Json(completions::whole(&head, &echo, &results)).into_response());
    }
    let chunks = served.stream(request.ask, Ending::Done, move |index, event| {
        let part = match event {
            Streamed::Begin if echo.is_empty() => return Vec::new(),
            Streamed::Begin => StreamPart::TextDelta { text: echo.clone(), logprobs: None },
            Streamed::Part(part) => part,
            Streamed::End(Ok(_)) => return Vec::new(),
            Streamed::End(Err(refusal)) => return vec![refusal.body()],
        };
        completions::chunk(&head, index, part).into_iter().collect()
    });
    Ok(chunks.await?.into_response())
}

/// What a stream turns into chunks.
enum Streamed<'a> {
    /// An answer begins.
    Begin,
    Part(StreamPart),
    /// All answers have ended, with their usages, or one has failed.
    End(Result<&'a [Usage], &'a Refusal>),
}

/// How a stream ends.
#[derive(Clone, Copy, PartialEq)]
enum Ending {
    /// With `[DONE]`; events have no names.
    Done,
    /// With its last event; events are named by their type.
    Silent,
}

impl Served {
    /// A model by its name, whose jobs go to `jobs`.
    pub fn new(id: String, jobs: mpsc::Sender<Job>) -> Self {
        Self { id, jobs, responses: Arc::default() }
    }

    fn responses(&self) -> MutexGuard<'_, Stored> {
        self.responses.lock().expect("nothing panics while it holds the lock")
    }

    fn check(&self, model: &str) -> Result<(), Refusal> {
        if model == self.id {
            return Ok(());
        }
        Err(Refusal::missing("model_not_found", format!("there is no model {model:?} here, only {:?}", self.id)))
    }

    /// Starts the generation of an answer.
    fn start(&self, ask: &Ask, index: usize) -> Result<UnboundedReceiver<Event>, Refusal> {
        let (events, received) = unbounded_channel();
        let mut options = ask.options.clone();
        options.seed = options.seed.map(|seed| seed + index as f64); // answers differ
        let job = Job { input: ask.input.clone(), options, events };
        self.jobs.send(job).map_err(|_| stopped())?;
        Ok(received)
    }

    /// Generates all answers.
    async fn all(&self, ask: &Ask) -> Result<Vec<GenerateResult>, Refusal> {
        let mut results = Vec::with_capacity(ask.n);
        for index in 0..ask.n {
            let mut events = self.start(ask, index)?;
            let done = loop {
                match events.recv().await.ok_or_else(stopped)? {
                    Event::Part(_) => {}
                    Event::Done(result) => break *result,
                }
            };
            results.push(done?);
        }
        Ok(results)
    }

    /// Streams all answers, one after the other. What fails before the first token is refused; a later failure ends the stream.
    async fn stream<C>(&self, ask: Ask, ending: Ending, mut chunks: C) -> Result<impl IntoResponse + use<C>, Refusal>
    where
        C: FnMut(usize, Streamed<'_>) -> Vec<Value> + Send + 'static,
    {
        let mut events = self.start(&ask, 0)?;
        let first = loop {
            match events.recv().await.ok_or_else(stopped)? {
                Event::Part(StreamPart::Prefill { .. }) => {}
                Event::Done(result) => match *result {
                    Err(error) => return Err(error.into()),
                    Ok(result) => break Event::Done(Box::new(Ok(result))),
                },
                part => break part,
            }
        };
        let (sender, sent) = unbounded_channel();
        let served = self.clone();
        tokio::spawn(async move {
            // Sends chunks; `false` once who asked has gone.
            let send = |chunks: Vec<Value>| {
                for chunk in chunks {
                    let event = match &chunk["type"] {
                        Value::String(name) if ending == Ending::Silent => SseEvent::default().event(name),
                        _ => SseEvent::default(),
                    };
                    let _ = sender.send(event.data(chunk.to_string()));
                }
                !sender.is_closed()
            };
            let ended = served.relay(&ask, events, first, &send, &mut chunks).await;
            send(chunks(0, Streamed::End(ended.as_deref())));
            if ending == Ending::Done {
                let _ = sender.send(SseEvent::default().data("[DONE]"));
            }
        });
        Ok(Sse::new(UnboundedReceiverStream::new(sent).map(Ok::<_, Infallible>)))
    }

    /// Sends the chunks of all answers, of which the first has begun with the event `first`; returns their usages.
    async fn relay(
        &self,
        ask: &Ask,
        mut events: UnboundedReceiver<Event>,
        first: Event,
        send: &(dyn Fn(Vec<Value>) -> bool + Sync),
        chunks: &mut (dyn FnMut(usize, Streamed<'_>) -> Vec<Value> + Send),
    ) -> Result<Vec<Usage>, Refusal> {
        let mut usages = Vec::with_capacity(ask.n);
        let mut first = Some(first);
        for index in 0..ask.n {
            if index > 0 {
                events = self.start(ask, index)?;
            }
            send(chunks(index, Streamed::Begin));
            loop {
                let event = match first.take() {
                    Some(event) => event,
                    None => events.recv().await.ok_or_else(stopped)?,
                };
                match event {
                    Event::Part(part) => {
                        if !send(chunks(index, Streamed::Part(part))) {
                            return Ok(usages); // who asked has gone: without `events` the generation is aborted
                        }
                    }
                    Event::Done(result) => break usages.push((*result)?.usage),
                }
            }
        }
        Ok(usages)
    }
}

fn stopped() -> Refusal {
    Refusal::server("the engine has stopped")
}
