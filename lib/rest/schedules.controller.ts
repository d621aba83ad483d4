import { Delete, Get, Inject, Post, Put } from '@nestjs/common';
import type { UpsertedSchedule } from '../model/schedule.js';
import { JobsService } from '../services/jobs.service.js';
import { SchedulesService } from '../services/schedules.service.js';
import type { Call } from './call.js';
import { component, Describe } from './operation.js';
import { pageOfNamed } from './page.js';
import { LIST_NAMED } from './schemas/requests.js';
import { objectOf } from './schemas/schema.js';
import {
  CREATE_SCHEDULE,
  DELETE_SCHEDULE,
  LIST_SCHEDULE_JOBS,
  PREVIEW,
  PUT_SCHEDULE,
  SCHEDULE_NAME,
} from './schemas/schedules.js';
import { jobPageToWire, jobToWire, type WireJob } from './wire/job.js';
import { jobQuery, type ListJobsQuery, type PageQuery } from './wire/requests.js';
import { scheduleInput, scheduleToWire, type ScheduleBody } from './wire/schedule.js';

const SCHEDULE = component('JobSchedule', 'the schedule');
const LOCATION = { Location: { type: 'string', description: 'where the schedule is' } };
const NO_FIELDS = objectOf({});

/** Timetables that make jobs, those of the caller's tenant. */
export abstract class SchedulesController {
  constructor(
    @Inject(SchedulesService) private readonly schedules: SchedulesService,
    @Inject(JobsService) private readonly jobs: JobsService,
  ) {}

  @Get()
  @Describe({
    id: 'listSchedules',
    summary: 'List schedules',
    query: LIST_NAMED,
    answers: [[200, component('JobScheduleList', 'a page of schedules')]],
    errors: [503],
  })
  async list(call: Call<unknown, PageQuery>): Promise<object> {
    const list = {
      member: 'schedules',
      order: 'name',
      items: await this.schedules.list(call.scope),
      nameOf: (schedule: { readonly name: string }) => schedule.name,
      toWire: scheduleToWire,
    };
    return pageOfNamed(list, call.query);
  }

  @Post()
  @Describe({
    id: 'createSchedule',
    summary: 'Make a schedule, or replace the one of that name',
    body: CREATE_SCHEDULE,
    answers: [
      [201, { ...component('JobSchedule', 'made'), headers: LOCATION }],
      [200, { ...component('JobSchedule', 'replaced'), headers: LOCATION }],
    ],
    errors: [413, 423, 503],
  })
  async create(call: Call<ScheduleBody>): Promise<object> {
    const schedule = await this.schedules.upsert(scheduleInput(call.body, undefined), owner(call));
    return answer(call, schedule, `${call.path}/${encodeURIComponent(schedule.name)}`);
  }

  @Get(':name')
  @Describe({
    id: 'getSchedule',
    summary: 'Get a schedule',
    params: SCHEDULE_NAME,
    answers: [[200, SCHEDULE]],
    errors: [404, 503],
  })
  async get(call: Call): Promise<object> {
    return scheduleToWire(await this.schedules.get(call.param('name'), call.scope));
  }

  @Put(':name')
  @Describe({
    id: 'putSchedule',
    summary: 'Make or replace a schedule',
    description:
      'What is left out gets its default, except `paused`. It goes on in its rhythm unless its times are other ones.',
    params: SCHEDULE_NAME,
    body: PUT_SCHEDULE,
    answers: [
      [200, { ...component('JobSchedule', 'replaced'), headers: LOCATION }],
      [201, { ...component('JobSchedule', 'made'), headers: LOCATION }],
    ],
    errors: [413, 423, 503],
  })
  async put(call: Call<ScheduleBody>): Promise<object> {
    const input = scheduleInput(call.body, call.param('name'));
    return answer(call, await this.schedules.upsert(input, owner(call)), call.path);
  }

  @Delete(':name')
  @Describe({
    id: 'deleteSchedule',
    summary: 'Delete a schedule; its jobs stay',
    params: SCHEDULE_NAME,
    query: DELETE_SCHEDULE,
    answers: [[204, { description: 'deleted' }]],
    errors: [404, 503],
  })
  async delete(call: Call<unknown, { readonly cancel_waiting?: string }>): Promise<void> {
    const cancelWaiting = call.query.cancel_waiting === 'true';
    await this.schedules.delete(call.param('name'), { ...call.scope, cancelWaiting });
  }

  @Post(':name/pause')
  @Describe({
    id: 'pauseSchedule',
    summary: 'Pause a schedule',
    params: SCHEDULE_NAME,
    description: 'It makes no more jobs; those that are there go on.',
    body: NO_FIELDS,
    answers: [[202, SCHEDULE]],
    errors: [404, 503],
  })
  async pause(call: Call): Promise<object> {
    return scheduleToWire(await this.schedules.pause(call.param('name'), call.scope));
  }

  @Post(':name/resume')
  @Describe({
    id: 'resumeSchedule',
    summary: 'Resume a paused schedule',
    params: SCHEDULE_NAME,
    description: 'It goes on with the next slot; what came meanwhile is not caught up.',
    body: NO_FIELDS,
    answers: [[202, SCHEDULE]],
    errors: [404, 503],
  })
  async resume(call: Call): Promise<object> {
    return scheduleToWire(await this.schedules.resume(call.param('name'), call.scope));
  }

  @Post(':name/run')
  @Describe({
    id: 'runSchedule',
    summary: 'Make a job of a schedule now',
    params: SCHEDULE_NAME,
    description: 'The timetable does not shift. Refused while its overlap leaves no room.',
    body: NO_FIELDS,
    answers: [
      [202, component('Job', 'the job')],
      [200, component('Job', 'the job that holds its unique key')],
    ],
    errors: [404, 409, 503],
  })
  async run(call: Call): Promise<WireJob> {
    const job = await this.schedules.runNow(call.param('name'), call.scope);
    call.answer(job.outcome === 'created' ? 202 : 200);
    return jobToWire(job);
  }

  @Get(':name/preview')
  @Describe({
    id: 'previewSchedule',
    summary: 'When a schedule is due next',
    params: SCHEDULE_NAME,
    query: PREVIEW,
    answers: [[200, component('JobSchedulePreview', 'times, as Unix milliseconds')]],
    errors: [404, 503],
  })
  async preview(call: Call<unknown, { readonly n?: number }>): Promise<object> {
    const { n } = call.query;
    const next = await this.schedules.preview(call.param('name'), n, call.scope);
    return { next: next.map((at) => at.getTime()) };
  }

  @Get(':name/jobs')
  @Describe({
    id: 'listScheduleJobs',
    summary: 'List the jobs of a schedule',
    params: SCHEDULE_NAME,
    query: LIST_SCHEDULE_JOBS,
    answers: [[200, component('JobList', 'a page of jobs')]],
    errors: [404, 503],
  })
  async listJobs(call: Call<unknown, ListJobsQuery>): Promise<object> {
    const { id } = await this.schedules.get(call.param('name'), call.scope);
    const query = { ...jobQuery(call.query, call.caller.tenantId), scheduleId: id };
    return jobPageToWire(await this.jobs.list(query));
  }
}

function owner({ caller }: Call<unknown>): { tenantId: string; userId: string | null } {
  return { tenantId: caller.tenantId, userId: caller.userId };
}

function answer(call: Call<unknown>, schedule: UpsertedSchedule, location: string): object {
  call.answer(schedule.outcome === 'created' ? 201 : 200, { Location: location });
  return scheduleToWire(schedule);
}
