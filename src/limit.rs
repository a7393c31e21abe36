//! A limit whose size may change while it is in use: who came first is served first, and nobody is cut off by a
//! smaller one; it takes effect as places are given back.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

/// The size that stands for no limit: more than there can ever be.
const NONE: usize = Semaphore::MAX_PERMITS;

/// Places of which a certain number can be taken at once.
#[derive(Clone, Debug)]
pub struct Limit(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    places: Arc<Semaphore>,
    book: Mutex<Book>,
}

#[derive(Debug)]
struct Book {
    size: usize,
    /// How many are taken.
    taken: usize,
    /// How many of those that are taken go when they are given back, because the limit became smaller.
    owed: usize,
}

/// A place that was taken. It is given back when this is dropped.
#[derive(Debug)]
pub struct Place {
    permit: Option<OwnedSemaphorePermit>,
    limit: Arc<Inner>,
}

impl Limit {
    /// So many at once; 0: no limit.
    pub fn new(size: usize) -> Self {
        let size = places(size);
        let book = Mutex::new(Book { size, taken: 0, owed: 0 });
        Self(Arc::new(Inner { places: Arc::new(Semaphore::new(size)), book }))
    }

    /// Changes the size; 0: no limit. Who waits goes on at once where there is room now.
    pub fn set(&self, size: usize) {
        let size = places(size);
        let mut book = self.0.book();
        if size > book.size {
            let more = size - book.size;
            let kept = more.min(book.owed);
            book.owed -= kept;
            self.0.places.add_permits(more - kept);
        } else {
            let fewer = book.size - size;
            book.owed += fewer - self.0.places.forget_permits(fewer);
        }
        book.size = size;
    }

    /// Takes a place, in turn. Cancelling it gives up the turn.
    ///
    /// # Errors
    /// Never: the semaphore is not closed.
    pub async fn take(&self) -> Result<Place, AcquireError> {
        let permit = Arc::clone(&self.0.places).acquire_owned().await?;
        self.0.book().taken += 1;
        Ok(Place { permit: Some(permit), limit: Arc::clone(&self.0) })
    }

    /// Takes a place if nobody has to wait for it.
    pub fn try_take(&self) -> Option<Place> {
        let permit = Arc::clone(&self.0.places).try_acquire_owned().ok()?;
        self.0.book().taken += 1;
        Some(Place { permit: Some(permit), limit: Arc::clone(&self.0) })
    }

    /// How many places are taken.
    pub fn taken(&self) -> usize {
        self.0.book().taken
    }
}

impl Inner {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut book = self.limit.book();
        book.taken = book.taken.saturating_sub(1);
        if book.owed > 0
            && let Some(permit) = self.permit.take()
        {
            book.owed -= 1;
            permit.forget();
        }
        // Otherwise the permit goes back after this, to the first in line.
    }
}

fn places(size: usize) -> usize {
    if size == 0 { NONE } else { size.min(NONE) }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    type Waiting = Pin<Box<dyn Future<Output = Result<Place, AcquireError>>>>;

    fn ask(limit: &Limit) -> Waiting {
        let limit = limit.clone();
        Box::pin(async move { limit.take().await })
    }

    /// The place, if it is the waiter's turn. No runtime is needed: nothing else happens in between.
    fn turn(waiting: &mut Waiting) -> Option<Place> {
        match waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(place) => Some(place.unwrap()),
            Poll::Pending => None,
        }
    }

    #[test]
    fn who_came_first_is_served_first() {
        let limit = Limit::new(1);
        let held = turn(&mut ask(&limit)).unwrap();
        let (mut first, mut second) = (ask(&limit), ask(&limit));
        assert!(turn(&mut first).is_none() && turn(&mut second).is_none());
        drop(held);
        assert!(turn(&mut second).is_none(), "it is the first one's turn");
        let held = turn(&mut first).unwrap();
        assert_eq!(limit.taken(), 1);
        drop(held);
        assert!(turn(&mut second).is_some());
        assert_eq!(limit.taken(), 0);
    }

    #[test]
    fn who_gives_up_does_not_hold_up_the_others() {
        let limit = Limit::new(1);
        let held = turn(&mut ask(&limit)).unwrap();
        let (mut first, mut second) = (ask(&limit), ask(&limit));
        assert!(turn(&mut first).is_none() && turn(&mut second).is_none());
        drop(held);
        drop(first);
        assert!(turn(&mut second).is_some());
    }

    #[test]
    fn a_larger_limit_serves_who_waits() {
        let limit = Limit::new(1);
        let _held = turn(&mut ask(&limit)).unwrap();
        let (mut second, mut third) = (ask(&limit), ask(&limit));
        assert!(turn(&mut second).is_none() && turn(&mut third).is_none());
        limit.set(2);
        let _second = turn(&mut second).unwrap();
        assert!(turn(&mut third).is_none());
        limit.set(0);
        let _third = turn(&mut third).unwrap();
        assert_eq!(limit.taken(), 3);
    }

    #[test]
    fn a_smaller_limit_takes_effect_as_places_are_given_back() {
        let limit = Limit::new(0);
        let mut held: Vec<Place> = (0..5).map(|_| turn(&mut ask(&limit)).unwrap()).collect();
        limit.set(2);
        let mut waiting = ask(&limit);
        for left in (2..5).rev() {
            drop(held.pop());
            assert!(turn(&mut waiting).is_none(), "{left} are still taken");
        }
        drop(held.pop());
        let _place = turn(&mut waiting).unwrap();
        assert!(turn(&mut ask(&limit)).is_none(), "two are taken");
    }

    #[test]
    fn what_was_owed_is_kept_when_the_limit_grows_again() {
        let limit = Limit::new(3);
        let mut held: Vec<Place> = (0..3).map(|_| turn(&mut ask(&limit)).unwrap()).collect();
        limit.set(1);
        limit.set(2);
        drop(held.pop());
        assert!(turn(&mut ask(&limit)).is_none(), "two of two are taken");
        drop(held.pop());
        let _second = turn(&mut ask(&limit)).unwrap();
        limit.set(0);
        limit.set(1);
        drop(held);
        assert!(turn(&mut ask(&limit)).is_none(), "one of one is taken");
        limit.set(0);
        assert!(turn(&mut ask(&limit)).is_some());
    }

    #[test]
    fn who_would_have_to_wait_may_go_without() {
        let limit = Limit::new(1);
        let held = limit.try_take().unwrap();
        assert!(limit.try_take().is_none());
        let mut first = ask(&limit);
        assert!(turn(&mut first).is_none());
        drop(held);
        assert!(limit.try_take().is_none(), "somebody waits for it");
        assert!(turn(&mut first).is_some());
        assert!(limit.try_take().is_some());
        assert_eq!(limit.taken(), 0);
    }
}
