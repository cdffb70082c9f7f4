create table if not exists source.census_counties (
    "feature_id" text,
    "name" text,
    "geometry" text
);

comment on table source.census_counties is
'Boundaries of the counties and county equivalents of the United States and its territories,
generalized to 1:10,000,000 (us-atlas 3.0.1, 2017 edition): one row per county.
Publisher: U.S. Census Bureau, Cartographic Boundary Files; made into TopoJSON by us-atlas.
Page: https://www.census.gov/geographies/mapping-files/time-series/geo/cartographic-
boundary.html and https://github.com/topojson/us-atlas.
Licence: public domain (U.S. government work).';

comment on column source.census_counties."feature_id" is
'County code (FIPS 6-4, GEOID): two digits of the state, three of the county.';
comment on column source.census_counties."name" is
'Name without the word County, Parish, Borough or the like; not unique.';
comment on column source.census_counties."geometry" is
'Boundary as GeoJSON Polygon or MultiPolygon in WGS 84 (published in NAD 83, which differs by '
'about a meter), coordinates rounded to a grid of about 0.0036 by 0.0009 degrees.';
