import { NestFactory } from '@nestjs/core';
import { JobsService } from 'nestjs-jobs';
import { AppModule } from './app.module.js';
import { Invoice, Orders, Sum } from './handlers.js';

const app = await NestFactory.createApplicationContext(AppModule, { logger: ['error', 'fatal'] });
const jobs = app.get(JobsService);

for (const shops of [
  ['Berlin', 'Oslo'],
  ['Berlin', 'Rome'],
]) {
  const [left = '', right = ''] = shops;
  const flow = await jobs.enqueueFlow({
    left: { type: Orders, params: { shop: left } },
    right: { type: Orders, params: { shop: right } },
    sum: { type: Sum, dependsOn: ['left', 'right'] },
    invoice: { type: Invoice, dependsOn: ['sum'] },
  });
  const invoice = await jobs.wait(flow.invoice.id);
  const result = typeof invoice.result === 'string' ? ` ${invoice.result}` : '';
  console.log(`${left} and ${right}: ${invoice.status}${result}`);
  for (const cause of (await jobs.dependencies(invoice.id)).causes) {
    const [first] = cause.causes;
    console.log(
      `  because ${cause.type} ${cause.status}, because ${String(first?.type)} ${String(first?.status)}`,
    );
  }
}
await app.close();
