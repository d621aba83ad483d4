import { Get, Inject } from '@nestjs/common';
import { CatalogService } from '../services/catalog.service.js';
import type { Call } from './call.js';
import { component, Describe } from './operation.js';
import { pageOfNamed } from './page.js';
import { GROUP_ID, LIST_NAMED, TYPE_ID } from './schemas/requests.js';
import { jobGroupToWire, jobTypeToWire } from './wire/catalog.js';
import type { PageQuery } from './wire/requests.js';

/** The job types that this process knows. */
export abstract class JobTypesController {
  constructor(@Inject(CatalogService) private readonly catalog: CatalogService) {}

  @Get()
  @Describe({
    id: 'listJobTypes',
    summary: 'List job types',
    query: LIST_NAMED,
    answers: [[200, component('JobTypeList', 'a page of job types')]],
  })
  list(call: Call<unknown, PageQuery>): object {
    const list = {
      member: 'job_types',
      order: 'type_id',
      items: this.catalog.types(),
      nameOf: (type: { readonly typeId: string }) => type.typeId,
      toWire: jobTypeToWire,
    };
    return pageOfNamed(list, call.query);
  }

  @Get(':id')
  @Describe({
    id: 'getJobType',
    summary: 'Get a job type, with the schema of its params',
    params: TYPE_ID,
    answers: [[200, component('JobType', 'the job type')]],
    errors: [404],
  })
  get(call: Call): object {
    return jobTypeToWire(this.catalog.type(call.param('id')));
  }
}

/** The groups of job types. */
export abstract class JobGroupsController {
  constructor(@Inject(CatalogService) private readonly catalog: CatalogService) {}

  @Get()
  @Describe({
    id: 'listJobGroups',
    summary: 'List job groups',
    query: LIST_NAMED,
    answers: [[200, component('JobGroupList', 'a page of job groups')]],
  })
  list(call: Call<unknown, PageQuery>): object {
    const list = {
      member: 'job_groups',
      order: 'name',
      items: this.catalog.groups(),
      nameOf: (group: { readonly name: string }) => group.name,
      toWire: jobGroupToWire,
    };
    return pageOfNamed(list, call.query);
  }

  @Get(':id')
  @Describe({
    id: 'getJobGroup',
    summary: 'Get a job group',
    params: GROUP_ID,
    answers: [[200, component('JobGroup', 'the job group')]],
    errors: [404],
  })
  get(call: Call): object {
    return jobGroupToWire(this.catalog.group(call.param('id')));
  }
}
