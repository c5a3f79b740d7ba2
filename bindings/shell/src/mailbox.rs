//! Commands of other threads on their way to a hub, bounded.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::Wake;

/// A bounded queue of commands, which wakes the worker that takes them.
#[derive(Debug)]
pub struct Mailbox<T> {
    queue: Mutex<Queue<T>>,
    room: Condvar,
    commands_max: usize,
    wake: Arc<Wake>,
}

#[derive(Debug)]
struct Queue<T> {
    commands: VecDeque<T>,
    /// Posters that wait for room.
    waiting: usize,
    is_closed: bool,
}

/// Locks, even if another thread panicked meanwhile: what these locks protect is whole between any two statements.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T> Mailbox<T> {
    /// A mailbox for `commands_max` commands, at least one.
    pub fn new(commands_max: usize, wake: Arc<Wake>) -> Self {
        let queue = Queue { commands: VecDeque::new(), waiting: 0, is_closed: false };
        Self { queue: Mutex::new(queue), room: Condvar::new(), commands_max: commands_max.max(1), wake }
    }

    /// Posts a command; waits while there is no room.
    ///
    /// # Errors
    /// The mailbox is closed; here is the command back.
    pub fn post(&self, command: T) -> Result<(), T> {
        let mut queue = lock(&self.queue);
        while queue.commands.len() >= self.commands_max && !queue.is_closed {
            queue.waiting += 1;
            queue = self.room.wait(queue).unwrap_or_else(PoisonError::into_inner);
            queue.waiting -= 1;
        }
        self.push(queue, command)
    }

    /// Posts a command even where there is no room: for commands whose number is bounded otherwise, such as one per lane.
    ///
    /// # Errors
    /// The mailbox is closed; here is the command back.
    pub fn post_bounded_otherwise(&self, command: T) -> Result<(), T> {
        self.push(lock(&self.queue), command)
    }

    fn push(&self, mut queue: MutexGuard<'_, Queue<T>>, command: T) -> Result<(), T> {
        if queue.is_closed {
            return Err(command);
        }
        queue.commands.push_back(command);
        drop(queue);
        self.wake.wake();
        Ok(())
    }

    /// Takes all commands, exchanging them for an empty queue.
    pub fn take(&self, into: &mut VecDeque<T>) {
        debug_assert!(into.is_empty(), "commands are carried out before more are taken");
        let mut queue = lock(&self.queue);
        std::mem::swap(&mut queue.commands, into);
        let is_awaited = queue.waiting > 0 && !into.is_empty();
        drop(queue);
        if is_awaited {
            self.room.notify_all();
        }
    }

    /// Whether there is nothing to take.
    pub fn is_empty(&self) -> bool {
        lock(&self.queue).commands.is_empty()
    }

    /// Takes no more commands and drops those that are there, which tells their posters.
    pub fn close(&self) {
        let mut queue = lock(&self.queue);
        queue.is_closed = true;
        let commands = std::mem::take(&mut queue.commands);
        drop(queue);
        self.room.notify_all();
        drop(commands);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mailbox(commands_max: usize) -> Arc<Mailbox<u32>> {
        Arc::new(Mailbox::new(commands_max, Arc::new(Wake::new(|| {}))))
    }

    #[test]
    fn a_full_mailbox_makes_its_posters_wait_and_loses_nothing() {
        let mailbox = mailbox(4);
        let posters: Vec<_> = (0..4)
            .map(|poster| {
                let mailbox = Arc::clone(&mailbox);
                std::thread::spawn(move || (0..1_000).for_each(|n| mailbox.post(poster * 1_000 + n).unwrap()))
            })
            .collect();
        let (mut all, mut taken) = (Vec::new(), VecDeque::new());
        while all.len() < 4_000 {
            mailbox.take(&mut taken);
            assert!(taken.len() <= 4, "the bound holds");
            all.extend(taken.drain(..));
            std::thread::yield_now();
        }
        posters.into_iter().for_each(|poster| poster.join().unwrap());
        for poster in 0..4 {
            let of_one: Vec<u32> = all.iter().copied().filter(|n| n / 1_000 == poster).collect();
            assert!(of_one.iter().copied().eq(poster * 1_000..(poster + 1) * 1_000), "in order");
        }
    }

    #[test]
    fn a_closed_mailbox_gives_commands_back_and_releases_who_waits() {
        let mailbox = mailbox(1);
        mailbox.post(1).unwrap();
        mailbox.post_bounded_otherwise(2).unwrap();
        let waiting = std::thread::spawn({
            let mailbox = Arc::clone(&mailbox);
            move || mailbox.post(3)
        });
        mailbox.close();
        assert_eq!(waiting.join().unwrap(), Err(3));
        assert_eq!(mailbox.post(4), Err(4));
        assert!(mailbox.is_empty());
    }
}
