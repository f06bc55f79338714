// The clock of requests' timeouts and pauses, which tests can speed up.

/** A clock that runs `rate` times as fast as real time, so that tests of long waits are short. */
export class Clock {
  constructor(readonly rate = 1) {}

  /** Milliseconds since an arbitrary origin. */
  now(): number {
    return performance.now() * this.rate;
  }

  /** Waits; rejects with the signal's reason if it aborts first. */
  sleep(milliseconds: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const stop = () => {
        clearTimeout(timer);
        reject(signal.reason);
      };
      const timer = setTimeout(() => {
        signal.removeEventListener("abort", stop);
        resolve();
      }, milliseconds / this.rate);
      if (signal.aborted) stop();
      else signal.addEventListener("abort", stop, { once: true });
    });
  }

  /** Waits for a promise, with a timeout. */
  within<T>(milliseconds: number, arriving: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const late = () => reject(new Error(`no data arrived for ${milliseconds / 1000} seconds`));
      const timer = setTimeout(late, milliseconds / this.rate);
      arriving.then(resolve, reject).finally(() => clearTimeout(timer));
    });
  }
}
