import { JobType, type JobContext, type JobHandler } from 'nestjs-jobs';

/** Fetches the orders of one shop; the shop in Rome is closed. */
@JobType({ name: 'orders', description: 'Fetches the orders of a shop' })
export class Orders implements JobHandler<{ shop: string }, number> {
  execute(ctx: JobContext<{ shop: string }>): number {
    if (ctx.params.shop === 'Rome') throw new Error('the shop is closed');
    return ctx.params.shop.length * 10;
  }
}

@JobType({ name: 'sum', description: 'Adds up what the jobs it depends on have found' })
export class Sum implements JobHandler<unknown, number> {
  execute(ctx: JobContext): number {
    return ctx.dependencies.reduce((sum, { result }) => sum + Number(result ?? 0), 0);
  }
}

@JobType({ name: 'invoice', description: 'Bills the sum' })
export class Invoice implements JobHandler<unknown, string> {
  execute(ctx: JobContext): string {
    return `billed ${Number(ctx.dependencies[0]?.result)}`;
  }
}
