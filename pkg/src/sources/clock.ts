// The time that requests wait by.

/** A clock; `rate` of its milliseconds pass in a real one, so that tests of long waits are short. */
export class Clock {
  constructor(readonly rate = 1) {}

  /** Milliseconds since some moment. */
  now(): number {
    return performance.now() * this.rate;
  }

  /** Rejects with the signal's reason where it aborts first. */
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

  /** Waits for something that arrives, but not for longer than this. */
  within<T>(milliseconds: number, arriving: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const late = () => reject(new Error(`nothing arrived for ${milliseconds / 1000} seconds`));
      const timer = setTimeout(late, milliseconds / this.rate);
      arriving.then(resolve, reject).finally(() => clearTimeout(timer));
    });
  }
}
