# An application that reads prod as docs/rails.md says: its database.yml and its models.
# client.rb FOLDER read THREADS | plans | lose | write | look; prints one line of JSON; those that
# something happens to say "ready" before.

require "active_record"
require "active_support/all"
require "erb"
require "json"
require "yaml"

FOLDER, COMMAND, THREADS = ARGV
ENV["RAILS_ENV"] = "production"
# What Rails sets for an application made with 6.1; it is gone from 7.1.
if ActiveRecord::VERSION::MAJOR == 6
  ActiveRecord::Base.legacy_connection_handling = false
end
yaml = ERB.new(File.read(File.join(FOLDER, "database.yml"))).result
ActiveRecord::Base.configurations = YAML.safe_load(yaml)
load File.join(FOLDER, "models.rb")

class Airport < HazardsRecord
  self.primary_key = "airport_id"
  belongs_to :county, foreign_key: "county_fips", optional: true
end

class CountyPopulation < HazardsRecord
  self.table_name = "county_population"
  self.primary_key = "county_fips"
end

class CountyRing < HazardsRecord
  self.primary_key = nil
end

HazardsRecord.learn

# Every row says in one of its columns which generation it came with: "generation 3".
def generations(values)
  values.flatten.map { |text| text.to_s[/\d+\z/].to_i }.uniq
end

def fips(number)
  format("%05d", number)
end

# What actions of controllers do; each returns the generations that it met.
REQUESTS = {
  find: -> { generations [County.find(fips(rand(1..200))).county_name] },
  list: lambda {
    counties = County.where(state_fips: "01").order(:county_fips).limit(50).to_a
    raise "#{counties.size} counties of 50" unless counties.size == 50

    generations counties.map(&:county_name)
  },
  join: lambda {
    found = HazardEvent.earthquake.joins(:county).limit(90).pluck("county_name", "event_name")
    raise "#{found.size} events of 90" unless found.size == 90

    generations found
  },
  page: lambda {
    HazardsRecord.steady do
      county = County.find(fips(rand(1..200)))
      events = county.hazard_events.order(:started_at).to_a
      raise "no event of #{county.county_fips}" if events.empty?

      status = DataStatus.where(kind: "table", name: %w[counties hazard_events]).to_a
      generations [
        county.county_name, county.profile.county_name, events.map(&:event_name),
        Airport.where(county: county).map(&:airport_name), status.map(&:generation)
      ]
    end
  },
  preload: lambda {
    HazardsRecord.steady(isolation: :repeatable_read) do
      counties = County.includes(:hazard_events, :profile).where(state_fips: "02").to_a
      generations [
        counties.map(&:county_name), counties.map { |county| county.profile.county_name },
        counties.flat_map { |county| county.hazard_events.map(&:event_name) }
      ]
    end
  },
  learn: lambda {
    columns = HazardsRecord.steady do
      DataStatus.count
      HazardsRecord.connection.columns("counties")
    end
    raise "#{columns.size} columns of counties" if columns.size < 10

    [:known]
  },
  footer: -> { generations DataStatus.where(kind: "table").pluck(:generation) }
}.freeze

# One thread of the application server: request after request, none of them twice.
class Worker
  attr_reader :seen, :errors, :mixed, :count, :longest

  def initialize
    @seen, @errors, @mixed, @count, @longest = [], [], [], 0, 0.0
  end

  def serve(name, action)
    began = Process.clock_gettime(Process::CLOCK_MONOTONIC)
    met = action.call
    @mixed << [name, met] if met.size != 1
    @seen |= met - [:known]
  rescue StandardError => e
    @errors << "#{name}: #{e.class}: #{e.message.lines.first.strip}"
  ensure
    ActiveRecord::Base.clear_active_connections! # as Rails does at the end of a request
    @longest = [@longest, Process.clock_gettime(Process::CLOCK_MONOTONIC) - began].max
    @count += 1
  end
end

# Read without pause until standard input is closed.
def read
  stale = Queue.new
  ActiveSupport::Notifications.subscribe("sql.active_record") do |*, payload|
    stale << 1 if payload[:exception]&.last.to_s.include?("cached plan must not change")
  end
  stopping = false
  workers = Array.new(THREADS.to_i) { Worker.new }
  threads = workers.map do |worker|
    Thread.new do
      REQUESTS.each { |request| worker.serve(*request) } until stopping
    end
  end
  sleep 0.05 until workers.all? { |worker| worker.count >= REQUESTS.size }
  say "ready"
  $stdin.read
  stopping = true
  threads.each(&:join)
  say JSON.generate(
    requests: workers.sum(&:count), longest: workers.map(&:longest).max, stale_plans: stale.size,
    seen: workers.map(&:seen), mixed: workers.flat_map(&:mixed), errors: workers.flat_map(&:errors)
  )
end

class NamedColumns < HazardsRecord
  self.table_name = "counties"
  self.primary_key = "county_fips"
  self.ignored_columns = ["-"]
end

# What prepared statements do when a column was added between their first use and their second.
def plans
  reads = {
    outside: -> { County.find("00001") },
    inside: -> { County.transaction { County.order(:county_fips).first! } },
    steady: -> { HazardsRecord.steady { County.order(:county_fips).last! } },
    named: -> { NamedColumns.transaction { NamedColumns.find("00001") } }
  }
  reads.each_value(&:call)
  say "ready"
  $stdin.gets
  told = reads.transform_values { |action| [outcome(&action), outcome(&action)] }
  known = County.column_names.include?("added")
  County.reset_column_information
  say JSON.generate(told.merge(added: [known, County.column_names.include?("added")]))
end

# What a request meets after its connection was ended, and the next one.
def lose
  worker = Worker.new
  worker.serve(*REQUESTS.first)
  HazardsRecord.connection # taken by a request
  say "ready"
  $stdin.gets
  3.times { worker.serve(*REQUESTS.first) }
  say JSON.generate(errors: worker.errors, count: worker.count)
end

# What becomes of attempts to change something.
def write
  county = County.order(:county_fips).first
  row = { county_fips: "x", county_name: "x" }
  by_models = {
    create: -> { County.create!(row) }, update: -> { county.update!(county_name: "x") },
    delete: -> { county.delete }, destroy: -> { county.destroy! },
    update_all: -> { County.update_all(county_name: "x") }, delete_all: -> { County.delete_all },
    insert_all: -> { County.insert_all([row]) },
    ddl: -> { HazardsRecord.connection.create_table(:mine) }
  }
  connection = HazardsRecord.connection.raw_connection
  statements = STATEMENTS.to_h { |sql| [sql, -> { connection.exec(sql) }] }
  told = { models: by_models, sql: statements }.transform_values do |attempts|
    attempts.transform_values { |action| outcome(&action) }
  end
  connection.exec("set default_transaction_read_only = off")
  told[:lifted] = statements.transform_values { |action| outcome(&action) }
  say JSON.generate(told)
end

STATEMENTS = [
  "insert into counties (county_fips) values ('x')", "update counties set county_name = 'x'",
  "delete from counties", "truncate counties", "drop table counties", "drop view data_status",
  "alter table counties add column x int", "create table transformed.mine (x int)",
  "create schema mine", "create index on counties (county_name)",
  "create temp table mine (x int)", "select * from counties for update",
  "update data_status_facts set state = 'fresh'"
].freeze

# What the application makes of each kind of column, key and enumeration.
def look
  event = HazardEvent.order(:hazard_event_id).first
  unknown = HazardEvent.find("unknown")
  ring = CountyRing.order(:county_fips).first
  status = DataStatus.find_by!(kind: "table", name: "counties")
  values = {
    area: County.find("00001").area_km2, started: event.started_at, ring: ring.ring,
    by_year: CountyPopulation.find("00001").population_by_year, age: status.age,
    stays_old: status.stays_old, overdue: status.is_overdue
  }
  say JSON.generate(
    models: (HazardsRecord.descendants - [NamedColumns]).to_h { |model| [model.name, model.count] },
    path: HazardsRecord.connection.schema_search_path,
    prepared: HazardsRecord.connection.prepared_statements,
    classes: values.transform_values { |value| value.class.name }, values: values,
    earthquakes: HazardEvent.earthquake.count, is_earthquake: event.earthquake?,
    unknown: [unknown.hazard_type, unknown.hazard_type_before_type_cast]
  )
end

def outcome
  yield
  "done"
rescue StandardError => e
  e.class.name
end

def say(line)
  puts line
  $stdout.flush
end

send(COMMAND)
