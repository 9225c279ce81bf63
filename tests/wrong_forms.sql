-- Statements that are wrong in some way, one a line; `tests/suite/wrong_forms.rs` runs them. Some are right by now.
select i like any (array['a','b']) from t
select v like any ('a','b') from t
select v like all ('a','b') from t
select v not like any ('a') from t
select percentile_disc(0.5) within group (order by i) over () from t
select percentile_cont(0.5) within group (order by v) from t
select percentile_cont('x') within group (order by i) from t
select percentile_cont(2) within group (order by i) from t
select i, sum(l) from t group by cube(i), ()
select i, sum(l) from t group by grouping sets ((i),())
select row(i,l) in (select i,l from t) from t
select (i,l) in (select i,l from t) from t
select (i,l) in (select i from t) from t
select i, sum(l) as s, s*2 from t group by 1
select i, sum(l) as s from t where s > 1 group by 1
select i from t group by sum(i)
select sum(sum(i)) from t
select sum(i) over (order by sum(i) over ()) from t
select i from t where row_number() over () = 1
select i from t group by 5
select i from t order by 5
select i from t group by i, d order by v
select * from t group by i
select t.* , count(*) from t
select nosuch from t
select t.nosuch from t
select q.i from t
select * from nosuch
select * from public.nosuch
select * from nosuch.t
select * from dev.public.nosuch
select * from nosuch.public.t
select i i, l i from (select i, i from t) q
select * from t, t
select i from t a, t b
select * from t natural join t
select * from t a join t b using (nosuch)
select * from t a join t b
select * from t a cross join t b on true
select * from t a left join t b on a.i
select distinct on (i) l from t order by l
select top 5 i from t limit 5
select i from t limit -1
select i from t limit i
select i from t limit 1.5
select i from t limit 'x'
select i from t offset 'x'
select i from t for update
select i into nt from t; drop table nt
with a as (select 1), a as (select 2) select * from a
with recursive a as (select 1 x union all select x+1 from a) select * from a limit 3
with recursive a(x) as (select 1 union all select x+1 from a where x < 'z') select * from a
with recursive a(x) as (select 1 union all select 'a' from a where x < 3) select * from a
with a(x,y) as (select 1) select * from a
select * from (select 1,2) q(a)
select * from (values (1,2),(3)) q
select exists(select 1), exists select 1
select (select i from t)
select (select i, l from t)
select i = (select i, l from t) from t
select i from t where i in ()
select * from t where i in (select i,l from t)
select unnest(array(1,2)), i from t
select count(distinct i, l) from t
select count(distinct *) from t
select sum(distinct i) over () from t
select lag(i,'x') over (order by i) from t
select lag(i) from t
select rank(i) over (order by i) from t
select rank() from t
select ntile(0) over (order by i) from t
select ntile('x') over (order by i) from t
select nth_value(i, 0) over (order by i) from t
select first_value(i) ignore nulls from t
select sum(i) over (order by i range between 'x' preceding and current row) from t
select sum(i) over (rows between unbounded following and current row) from t
select sum(i) over w from t
select sum(i) over (partition by nosuch) from t
select listagg(i) within group (order by nosuch) from t
select listagg(distinct i, ',') within group (order by d) from t
select listagg(i, v) from t
select median(v) from t
select approximate count(distinct i) from t
select approximate percentile_disc(0.5) within group (order by i) from t
select ratio_to_report(i) from t
select grouping(i) from t
select grouping(l) from t group by rollup(i)
select pg_sleep(1, 2)
select i from t where
select from t
select 1 +
select * from t where i = = 1
select 'abc
select 1 as 1
selec 1
select cast(1 as)
select 1::
insert into t values (1)
insert into t(i) values (1,2)
insert into t(nosuch) values (1)
insert into t(i,i) values (1,2)
insert into t(i) select v from t
insert into t(i) select d from t
insert into t(d) select i from t
insert into t(i) values ('x')
insert into t(d) values (5)
insert into t(b) values (1.5)
insert into t(i) values (99999999999)
insert into t(s) values (99999)
insert into t(c) values ('abcdefghi')
insert into t(n) values (123456789.123)
insert into nosuch values (1)
update t set nosuch = 1
update t set i = d where false
update t set i = 'x' where i = 1
update t set i = (select i, l from t)
update t set i = (select i from t)
update t set i = 1, i = 2
update t set i = sum(l)
update nosuch set i = 1
update t set i = u.i from nosuch u
delete from t where nosuch
delete from t where d
delete from t using nosuch
delete from nosuch
merge into t using nosuch on 1=1 when matched then delete
merge into t using t u on t.i = u.nosuch when matched then delete when not matched then insert values (1)
create table t(i int)
create table bad(i nosuch)
create table bad(i int, i int)
create table bad(i int default 'x')
create table bad(i int default d)
create table bad(i int) distkey(nosuch)
create table bad(i int) sortkey(nosuch)
create table bad(i varchar(99999999))
create table bad(i decimal(99,2))
create table bad as select 1, 2
create table bad as select nosuch
create view bad as select nosuch from t
create view bad(a,b) as select 1
drop table nosuch
drop view t
alter table t add column i int
alter table t drop column nosuch
alter table t alter column i type nosuch
alter table t rename column nosuch to x
alter table nosuch add column x int
truncate nosuch
copy t from '/nosuch'
copy nosuch from '/nosuch'
unload ('select nosuch') to '/tmp/x'
explain select nosuch
explain nosuch
analyze nosuch
vacuum nosuch
set nosuch to 1
show nosuch
begin; select nosuch; rollback
declare c cursor for select nosuch
fetch 1 from nosuch
close nosuch
prepare p as select nosuch
execute nosuch
deallocate nosuch
lock nosuch
grant select on nosuch to nosuch
comment on table nosuch is 'x'
call nosuch()
create function f() returns int as 'x'
create schema public
drop schema nosuch
create user admin password 'x'
select 1/0, 1%0, 1.0/0, 1::float/0
select 9223372036854775807 + 1
select 2147483647 + 1
select sqrt(-1), ln(0), ln(-1), power(-1, 0.5), acos(2)
select 'x'::int
select '2020-13-01'::date
select '25:00'::time
select repeat('x', 100000000)
select chr(-1), chr(99999999)
select substring('abc', 1, -1)
select to_date('x','YYYY'), to_timestamp('x','YYYY')
select to_number('x','99')
select regexp_replace('a','(','b')
select 'a' ~ '('
select 'a' similar to '('
select 'a' like 'b' escape 'xx'
select 'a' like 'b\\'
select json_extract_path_text('{x', 'a')
select convert_timezone('nosuch', d) from t
select ts at time zone 'nosuch' from t
select dateadd(nosuch, 1, d) from t
select datediff(nosuch, d, d) from t
select date_trunc('nosuch', d) from t
select date_part(nosuch, d) from t
select extract(epoch from v) from t
select dateadd(year, 999999, d) from t
select d + 999999999 from t
select interval '1 nosuch'
select interval '1 day' * 99999999999
select split_part('a','b',0)
select lpad('a', 99999999)
select strtol('z', 99)
select width_bucket(1, 2, 2, 0)
select sha2('a', 1)
select i.i.i.i.i from t
select t.i.x from t
select v[0] from t
select v['a'] from t
select {fn now()}
select $1
select :x
select @x
select * exclude nosuch from t
select * from t pivot (sum(i) for nosuch in (1))
select * from t unpivot (x for y in (nosuch))
select i from t start with i=1 connect by prior nosuch = i
select i from t where l(+) = 1
select * from t tablesample bernoulli(10)
select * from lateral (select 1) q
select * from t, lateral (select t.i) q
select * from generate_series(1)
select * from generate_series('a','b')
select generate_series(1,3), i from t
select iff(1,2,3)
select if(true,1,2)
select try_cast('x' as int)
select try_cast('x' as timetz)
select convert(int, 'x')
select position(1 in 2)
select overlay('abc' placing 'x' from 2)
select trim(both from v), trim(leading 'x' from d), trim(1 from 2) from t
select substring(v from 1 for 2), substring(d from 'x') from t
select ceil(1.5 to day)
select date 'x', timestamp 'x', time 'x', interval 'x'
select b'101', x'zz', e'\\q'
select u&'x'
select array[1,2], array[1,'x'], array[]
select map {'a':1}
select struct(1,2)
select {'a':1}
select named_struct('a',1)
select arrow_typeof(1)
select arrow_cast(1,'Utf8')
select to_unixtime('x')
select make_date(2020,13,1)
select sum(array(1)) from t
select i is json from t
select not exists(select nosuch)
select all (select 1) = 1
select 1 = all(select 'x')
select 1 = any(array[1,2])
select i = any('{1,2}') from t
select xmlelement(name foo)
select current_setting(1)
select set_config('a')
