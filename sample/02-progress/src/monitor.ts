import { Injectable, type OnModuleDestroy, type OnModuleInit } from '@nestjs/common';
import { InjectQueueWorker, QueueWorker } from 'nestjs-jobs';
import { Subscription } from 'rxjs';

/** Prints the progress of whatever this process runs in the queue `default`. */
@Injectable()
export class Monitor implements OnModuleInit, OnModuleDestroy {
  readonly #subscription = new Subscription();

  constructor(@InjectQueueWorker('default') private readonly worker: QueueWorker) {}

  onModuleInit(): void {
    this.#subscription.add(
      this.worker.progress$.subscribe(({ type, progress, message }) => {
        console.log(`progress$  ${type}  ${progress ?? ''}  ${message ?? ''}`);
      }),
    );
  }

  onModuleDestroy(): void {
    this.#subscription.unsubscribe();
  }
}
