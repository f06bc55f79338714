//! Workers that are threads of this program.

use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex};

use futures_channel::oneshot;

use super::worker::{Arithmetic, Worker};
use super::workers::{Answer, Workers};
use crate::kernels::Peers;
use crate::plan::{BufferId, BytesRef, Share};
use crate::{Error, Result};

/// What a thread is told.
enum Message {
    Command(Vec<u8>, Option<oneshot::Sender<Vec<u8>>>),
    Write(BufferId, u64, Vec<u8>),
}

/// See the module.
#[derive(Debug)]
pub struct Threads {
    senders: RefCell<Vec<Sender<Message>>>,
    count: usize,
}

/// The threads that the machine runs at a time, at most 8.
fn available() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(8)
}

/// Starts `count` threads, by default as many as the machine runs at a time.
pub fn threads(arithmetic: Arithmetic, count: Option<usize>) -> Rc<dyn Workers> {
    let count = count.unwrap_or_else(available);
    let meeting = Arc::new(Meeting::new(count));
    let start = |share| {
        let (sender, receiver) = channel();
        let meeting = meeting.clone();
        let work = move || serve(Member { share, meeting, round: Cell::new(0) }, arithmetic, &receiver);
        std::thread::Builder::new().name("minke".into()).spawn(work).expect("the system starts a thread");
        sender
    };
    Rc::new(Threads { senders: RefCell::new(Share::all(count).map(start).collect()), count })
}

/// Carries out what arrives until the senders are gone, or something has panicked.
fn serve(member: Member, arithmetic: Arithmetic, receiver: &Receiver<Message>) {
    let meeting = member.meeting.clone();
    let served = catch_unwind(AssertUnwindSafe(|| {
        let share = member.share;
        let mut worker = Worker::new(share, Rc::new(member), arithmetic);
        for message in receiver {
            match message {
                Message::Write(to, offset, bytes) => worker.bytes_mut(to, offset, bytes.len()).copy_from_slice(&bytes),
                Message::Command(command, answer) => {
                    let made = worker.carry_out(&command);
                    if let Some(answer) = answer {
                        let _ = answer.send(made); // who asked may be gone
                    }
                }
            }
        }
    }));
    if served.is_err() {
        meeting.end();
    }
}

fn stopped() -> Error {
    Error::DeviceLost { message: "the model was unloaded".into() }
}

impl Threads {
    fn send(&self, worker: usize, message: Message) {
        if let Some(sender) = self.senders.borrow().get(worker) {
            let _ = sender.send(message); // a thread that has stopped answers nothing: its answers are errors
        }
    }
}

impl Workers for Threads {
    fn count(&self) -> usize {
        self.count
    }

    fn memory(&self) -> u64 {
        u64::MAX / self.count as u64
    }

    fn tell(&self, worker: usize, command: &[u8]) {
        self.send(worker, Message::Command(command.to_vec(), None));
    }

    fn write(&self, worker: usize, to: BufferId, offset: u64, bytes: BytesRef<'_>) {
        self.send(worker, Message::Write(to, offset, bytes.to_vec()));
    }

    fn ask(&self, worker: usize, command: &[u8]) -> Answer {
        let (sender, receiver) = oneshot::channel();
        self.send(worker, Message::Command(command.to_vec(), Some(sender)));
        Box::pin(async { receiver.await.map_err(|_| stopped()) as Result<Vec<u8>> })
    }

    fn lost(&self) -> Pin<Box<dyn Future<Output = Error>>> {
        Box::pin(std::future::pending())
    }

    fn stop(&self) {
        self.senders.borrow_mut().clear();
    }
}

/// Rounds that a thread looks for the others before it sleeps: a few microseconds.
const SPINS: usize = 2000;

/// Where threads exchange blocks.
#[derive(Debug)]
struct Meeting {
    count: usize,
    /// The blocks of each thread, of this exchange and of the one before it, which others may still be reading.
    blocks: [Vec<Mutex<Vec<u8>>>; 2],
    arrived: AtomicUsize,
    /// Exchanges for which all have arrived.
    rounds: AtomicUsize,
    ended: AtomicBool,
    sleep: Mutex<()>,
    wake: Condvar,
}

impl Meeting {
    fn new(count: usize) -> Self {
        Self {
            count,
            blocks: [0, 1].map(|_| (0..count).map(|_| Mutex::default()).collect()),
            arrived: AtomicUsize::new(0),
            rounds: AtomicUsize::new(0),
            ended: AtomicBool::new(false),
            sleep: Mutex::new(()),
            wake: Condvar::new(),
        }
    }

    /// Returns when all threads have called it `round + 1` times.
    fn wait(&self, round: usize) {
        if self.arrived.fetch_add(1, Ordering::AcqRel) + 1 == self.count {
            self.arrived.store(0, Ordering::Release);
            self.wake_all(|| self.rounds.store(round + 1, Ordering::Release));
            return;
        }
        let waits = || self.rounds.load(Ordering::Acquire) == round && !self.ended.load(Ordering::Acquire);
        for _ in 0..SPINS {
            if !waits() {
                break;
            }
            std::hint::spin_loop();
        }
        let mut asleep = self.sleep.lock().expect("nothing panics while it holds the lock");
        while waits() {
            asleep = self.wake.wait(asleep).expect("nothing panics while it holds the lock");
        }
        drop(asleep);
        assert!(!self.ended.load(Ordering::Acquire), "another thread has panicked");
    }

    fn end(&self) {
        self.wake_all(|| self.ended.store(true, Ordering::Release));
    }

    fn wake_all(&self, change: impl FnOnce()) {
        let _asleep = self.sleep.lock().expect("nothing panics while it holds the lock");
        change();
        self.wake.notify_all();
    }
}

/// A thread's part in the exchanges.
#[derive(Debug)]
struct Member {
    share: Share,
    meeting: Arc<Meeting>,
    round: Cell<usize>,
}

impl Peers for Member {
    fn exchange(&self, values: &mut [u8], own: Range<usize>) {
        let round = self.round.replace(self.round.get() + 1);
        let blocks = &self.meeting.blocks[round % 2];
        let block = |worker: usize| blocks[worker].lock().expect("nothing panics while it holds the lock");
        {
            let mut block = block(self.share.index);
            block.clear();
            block.extend_from_slice(&values[own]);
        }
        self.meeting.wait(round);
        let mut at = 0;
        for worker in 0..self.share.count {
            let block = block(worker);
            values[at..at + block.len()].copy_from_slice(&block);
            at += block.len();
        }
    }
}
