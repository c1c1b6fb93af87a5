//! Results of many workers in the order of the recordings, with a bound on the bytes that wait.

use std::collections::{HashMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard};

/// A queue per recording, read in the order of the recordings by one reader.
///
/// A sender waits while more than `budget` bytes wait to be read. The recording that is read now is
/// exempt while its own queue is empty, so there is always progress, and at most `budget` bytes plus
/// one item are held. Recordings must be begun in order, each by one thread.
pub(super) struct ReorderBuffer<T> {
    state: Mutex<State<T>>,
    room: Condvar,
    ready: Condvar,
    budget: usize,
}

struct State<T> {
    head: usize,
    queues: HashMap<usize, VecDeque<(T, usize)>>,
    held: usize,
    closed: bool,
}

impl<T> ReorderBuffer<T> {
    pub fn new(budget: usize) -> Self {
        let state = State { head: 0, queues: HashMap::new(), held: 0, closed: false };
        Self { state: Mutex::new(state), room: Condvar::new(), ready: Condvar::new(), budget }
    }

    /// Sends an item of `cost` bytes of recording `index`; false once the queue is closed.
    pub fn send(&self, index: usize, item: T, cost: usize) -> bool {
        let mut state = self.lock();
        while !state.closed
            && state.held + cost > self.budget
            && (index != state.head || state.queues.contains_key(&index))
        {
            state = self.room.wait(state).unwrap_or_else(|poisoned| poisoned.into_inner());
        }
        if state.closed {
            return false;
        }
        state.held += cost;
        state.queues.entry(index).or_default().push_back((item, cost));
        if index == state.head {
            self.ready.notify_one();
        }
        true
    }

    /// The next item of recording `index`, waiting for it; None once the queue is closed. Recordings
    /// are read in order: asking for the next one declares the one before it finished.
    pub fn receive(&self, index: usize) -> Option<T> {
        let mut state = self.lock();
        if state.head != index {
            state.head = index;
            self.room.notify_all();
        }
        loop {
            if state.closed {
                return None;
            }
            if let Some(queue) = state.queues.get_mut(&index) {
                let (item, cost) = queue.pop_front().expect("a queue is removed when empty");
                if queue.is_empty() {
                    state.queues.remove(&index);
                }
                state.held -= cost;
                self.room.notify_all();
                return Some(item);
            }
            state = self.ready.wait(state).unwrap_or_else(|poisoned| poisoned.into_inner());
        }
    }

    /// Wakes everybody; nothing is sent or received any more.
    pub fn close(&self) {
        self.lock().closed = true;
        self.room.notify_all();
        self.ready.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // No code that can panic runs under the lock, so a poisoned state is still consistent.
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn order_and_budget_hold_with_many_senders() {
        const N: usize = 200;
        const BUDGET: usize = 10;
        let order = Arc::new(ReorderBuffer::new(BUDGET));
        let next = Arc::new(AtomicUsize::new(0));
        let senders: Vec<_> = (0..8)
            .map(|_| {
                let (order, next) = (order.clone(), next.clone());
                std::thread::spawn(move || {
                    loop {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        if index >= N {
                            break;
                        }
                        for part in 0..=index % 7 {
                            assert!(order.send(index, (index, part), 3));
                        }
                    }
                })
            })
            .collect();
        for index in 0..N {
            for part in 0..=index % 7 {
                assert!(order.lock().held <= BUDGET + 3);
                assert_eq!(order.receive(index), Some((index, part)));
            }
        }
        senders.into_iter().for_each(|sender| sender.join().unwrap());
        assert_eq!(order.lock().held, 0);
    }

    #[test]
    fn close_wakes_a_waiting_sender_and_reader() {
        let order = Arc::new(ReorderBuffer::new(1));
        assert!(order.send(5, (), 1));
        let sender = std::thread::spawn({
            let order = order.clone();
            move || order.send(6, (), 1)
        });
        let reader = std::thread::spawn({
            let order = order.clone();
            move || order.receive(0)
        });
        order.close();
        assert!(!sender.join().unwrap());
        assert!(reader.join().unwrap().is_none());
    }
}
